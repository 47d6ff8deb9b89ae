# mri-transfer as an image, with the BIDS App as its command.
#
#   docker build -t mri-transfer .                                     for processors and NVIDIA GPUs, about 8 GB
#   docker build -t mri-transfer --build-arg TORCH_INDEX=ADDRESS .     for processors alone, about 3 GB: ADDRESS is that
#                                                                      of PyTorch's index of processor-only builds
#
# container/install.sh has the steps; container/mri-transfer.def and container/check_chroot.sh use it too.
FROM debian:bookworm-slim

ARG TORCH_INDEX=
ARG PIP_INDEX_URL
RUN --mount=type=bind,target=/src /src/container/install.sh /src

# A home that everybody can write to, whoever runs the image; the root may be read-only.
ENV HOME=/tmp LANG=C.UTF-8 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["mri-transfer-bids"]
CMD ["--help"]
