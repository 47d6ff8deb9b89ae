# mri-transfer as an image, with the BIDS App as its command. docs/guide/container.md says how to use it.
#
#   docker build -t mri-transfer .
#       for processors and NVIDIA GPUs, 7 GB
#   docker build -t mri-transfer --build-arg TORCH_INDEX=ADDRESS .
#       for processors alone; ADDRESS is that of PyTorch's index of processor-only builds
#
# The steps are in container/install.sh, which container/mri-transfer.def and
# container/check_chroot.sh run as well.
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
