"""The gallery: bad scans and tables as archives really hand them over, and odd ones that are legal.

Every bad entry says which error refuses it and what its message holds; every odd one, which voxels
or cells must come out. `tests/report/test_gallery.py` walks through it; other tests
borrow its makers.
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import lzma
import os
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from mri_transfer.errors import IntensityError, ScanError, UnreadableScanError, UnsupportedScanError
from tests.phantoms import asymmetric_phantom, ras_affine, store_nifti

__all__ = [
    "AFFINE",
    "BAD_SCANS",
    "BAD_TABLES",
    "HEADER_FIELDS",
    "ODD_SCANS",
    "ODD_TABLES",
    "BadScan",
    "BadTable",
    "OddScan",
    "OddTable",
    "as_gzip_bomb",
    "declare_huge",
    "patch_header",
    "scan_entry",
    "store_phantom",
    "write_table_folder",
]

Array = npt.NDArray[np.generic]
Maker = Callable[[Path], object]

#: Of the phantom in every scan of the gallery; three sizes of voxel, so that a swap shows.
AFFINE = ras_affine((1.0, 1.5, 2.0))
_PLAIN = asymmetric_phantom()

#: Byte of a field in a NIfTI-1 header.
HEADER_FIELDS = {
    "sizeof_hdr": 0,
    "dim": 40,
    "datatype": 70,
    "bitpix": 72,
    "pixdim": 76,
    "vox_offset": 108,
    "scl_slope": 112,
    "xyzt_units": 123,
    "qform_code": 252,
    "sform_code": 254,
    "quatern_b": 256,
    "srow_x": 280,
    "srow_z": 312,
    "magic": 344,
}


def store_phantom(path: Path, dtype: str = "int16", version: int = 1) -> Path:
    """Write the phantom that every entry begins with."""
    return store_nifti(path, _PLAIN, AFFINE, dtype=dtype, version=version)


def _unpacked(dtype: str = "int16", version: int = 1) -> bytes:
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = kind(_PLAIN.astype(dtype), AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    return bytes(image.to_bytes())


def patch_header(path: Path, field: str | int, form: str, *values: object) -> None:
    """Overwrite a field, or a byte, of an uncompressed file, as `struct` packs it."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, HEADER_FIELDS.get(field, field), *values)
    path.write_bytes(data)


def _patched(field: str | int, form: str, *values: object, **stored: object) -> Maker:
    def make(path: Path) -> None:
        store_phantom(path, **stored)
        patch_header(path, field, form, *values)

    return make


def _array(voxels: Array) -> Maker:
    return lambda path: nib.save(nib.Nifti1Image(voxels, AFFINE), path)


def _raw(data: bytes) -> Maker:
    return lambda path: path.write_bytes(data)


def _damaged(change: Callable[[bytes], bytes]) -> Maker:
    """Return the maker of a phantom whose file's bytes were changed."""
    return lambda path: path.write_bytes(change(store_phantom(path).read_bytes()))


def _flipped(at: float) -> Callable[[bytes], bytes]:
    """Flip one bit; `at` counts from the end if negative, and is a share of the file below 1."""

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[int(at * len(data)) if 0 < at < 1 else int(at)] ^= 0x10
        return bytes(changed)

    return change


def _with_value(value: float) -> Array:
    phantom = asymmetric_phantom()
    phantom[3, 4, 5] = value
    return phantom


def declare_huge(path: Path, dim: Sequence[int], datatype: int = 4, bitpix: int = 16) -> None:
    """Write a small file whose header declares a huge volume."""
    data = bytearray(_unpacked())
    struct.pack_into("<8h", data, HEADER_FIELDS["dim"], *dim)
    struct.pack_into("<hh", data, HEADER_FIELDS["datatype"], datatype, bitpix)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def as_gzip_bomb(path: Path) -> None:
    """Write a megabyte that unpacks to the gigabyte of zeros that its header declares."""
    declare_huge(path, (3, 512, 512, 512, 1, 1, 1, 1), datatype=64, bitpix=64)
    zeros = gzip.compress(bytes(1 << 24))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:352]) + zeros * 64)


def _colour(*letters: str) -> Maker:
    return _array(np.zeros((20, 20, 20), dtype=[(letter, "u1") for letter in letters]))


def _forms(
    sform: Array | None = None, qform: Array | None = None, *, codes: tuple[int, int] = (1, 1)
) -> Maker:
    """Return the maker of a phantom with these forms; None is the phantom's own affine."""

    def make(path: Path) -> None:
        image = nib.Nifti1Image(_PLAIN, AFFINE)
        image.set_qform(AFFINE if qform is None else qform, code=codes[1])
        image.set_sform(AFFINE if sform is None else sform, code=codes[0])
        nib.save(image, path)

    return make


def _turned(degrees: float) -> Array:
    """Return the phantom's affine after a nod of the head."""
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    nod = np.eye(4)
    nod[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    return nod @ AFFINE


def _moved(*, by_mm: float = 0.0, shear: float = 0.0, stretch: float = 1.0) -> Array:
    affine = AFFINE.copy()
    affine[:3, :3] *= stretch
    affine[0, 1] += shear
    affine[:3, 3] += by_mm
    return affine


def _after(first: Maker, *fields: tuple[str, str, tuple[object, ...]]) -> Maker:
    def make(path: Path) -> None:
        first(path)
        for field, form, values in fields:
            patch_header(path, field, form, *values)

    return make


_NO_SFORM = ("sform_code", "<h", (0,))
_NO_QFORM = ("qform_code", "<h", (0,))


def _zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scan.nii", _unpacked())


def _tarred(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("scan.nii")
        member.size = len(_unpacked())
        archive.addfile(member, io.BytesIO(_unpacked()))


def _freesurfer(path: Path) -> None:
    volume = path.with_name("orig.mgz")
    nib.save(nib.MGHImage(_PLAIN, AFFINE), volume)
    volume.rename(path)


def _linked(path: Path) -> None:
    (path.parent / "store").mkdir()
    path.symlink_to(store_phantom(path.parent / "store" / "scan.nii"))


def _pair(kind: type) -> Maker:
    """Return the maker of .hdr and .img; the entry's name says which of them is the scan."""
    return lambda path: nib.save(kind(_PLAIN.astype("int16"), AFFINE), path)


@dataclasses.dataclass(frozen=True)
class BadScan:
    """A file that must be refused by just this error, with these words in its message."""

    make: Maker
    error: type[ScanError]
    says: tuple[str, ...]
    name: str = "s.nii"


def _unreadable(make: Maker, *says: str, name: str = "s.nii") -> BadScan:
    return BadScan(make, UnreadableScanError, says, name)


def _unsupported(make: Maker, *says: str, name: str = "s.nii") -> BadScan:
    return BadScan(make, UnsupportedScanError, says, name)


def _pictureless(make: Maker, *says: str, name: str = "s.nii") -> BadScan:
    return BadScan(make, IntensityError, says, name)


_GZ = "s.nii.gz"

_BAD_FILES = {
    "missing": _unreadable(lambda path: None, "the file is missing", "in the manifest"),
    "folder": _unreadable(Path.mkdir, "not a regular file", name=_GZ),
    "pipe": _unreadable(os.mkfifo, "not a regular file"),
    "device": _unreadable(lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "link to nothing": _unreadable(lambda path: path.symlink_to("none"), "the file is missing"),
    "link to itself": _unreadable(
        lambda path: path.symlink_to(path), "cannot be read", "levels of symbolic links"
    ),
    "name too long": _unreadable(
        lambda path: None, "cannot be read", "File name too long", name="x" * 300 + ".nii"
    ),
    "file in place of a folder": _unreadable(
        lambda path: path.parent.write_text("x"), "cannot be read", "directory", name="s/t.nii"
    ),
    "empty": _unreadable(_raw(b""), "the file is empty"),
    "empty, named compressed": _unreadable(_raw(b""), "the file is empty", name=_GZ),
    "gzip of nothing": _unreadable(_raw(gzip.compress(b"")), "not a NIfTI file", name=_GZ),
    "text": _unreadable(_raw(b"patient_id,path\n" * 50), "not a NIfTI file", "b'patient_'"),
    "zeros": _unreadable(_raw(bytes(5000)), "not a NIfTI file"),
    "noise": _unreadable(_raw(bytes(range(256)) * 20), "not a NIfTI file"),
    "four bytes": _unreadable(_raw(struct.pack("<i", 348)), "not a NIfTI file"),
    "DICOM": _unreadable(_raw(bytes(128) + b"DICM" + bytes(900)), "a DICOM file", "dcm2niix"),
    "DICOM, compressed": _unreadable(
        _raw(gzip.compress(bytes(128) + b"DICM" + bytes(900))), "a DICOM file", name=_GZ
    ),
    "web page": _unreadable(
        _raw(b"<!DOCTYPE html><html><body>Please log in</body></html>"),
        "an HTML or XML page",
        "login",
        name=_GZ,
    ),
    "PNG": _unreadable(_raw(b"\x89PNG\r\n\x1a\n" + bytes(600)), "a PNG picture", name=_GZ),
    "JPEG": _unreadable(_raw(b"\xff\xd8\xff\xe0" + bytes(600)), "a JPEG picture"),
    "ZIP": _unreadable(_zipped, "a ZIP archive", "Unpack it", name=_GZ),
    "tar": _unreadable(_tarred, "a tar archive", "Unpack it", name=_GZ),
    "bzip2": _unreadable(_raw(bz2.compress(b"x" * 900)), "bzip2", "compress the scan", name=_GZ),
    "xz": _unreadable(_raw(lzma.compress(b"x" * 900)), "compressed with xz", name=_GZ),
    "zstd": _unreadable(_raw(b"\x28\xb5\x2f\xfd" + bytes(90)), "zstd", name=_GZ),
    "compressed twice": _unreadable(
        _damaged(gzip.compress), "compressed twice", "Unpack it once", name=_GZ
    ),
    "NRRD": _unreadable(_raw(b"NRRD0004\ntype: short\n" + bytes(600)), "an NRRD file"),
    "MINC 2": _unreadable(_raw(b"\x89HDF\r\n\x1a\n" + bytes(600)), "HDF5 file, such as MINC"),
    "MINC 1": _unreadable(_raw(b"CDF\x01" + bytes(600)), "netCDF file, such as MINC"),
    "FreeSurfer": _unreadable(_freesurfer, "FreeSurfer volume", "mri_convert", name=_GZ),
    "pointer of git-annex": _unreadable(
        _raw(b"/annex/objects/MD5E-s1--0.nii.gz\n"), "git-annex", "datalad get", name=_GZ
    ),
    "pointer of Git LFS": _unreadable(
        _raw(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS", "git lfs pull"
    ),
    "named like FreeSurfer": _unsupported(
        _raw(b"\0\0\0\1" * 200), "does not have a NIfTI name", ".mgz", name="s.mgz"
    ),
    "header of a NIfTI pair": _unsupported(
        _pair(nib.Nifti1Pair), "half of a pair", "as one .nii file", name="s.hdr"
    ),
    "Analyze pair": _unsupported(_pair(nib.AnalyzeImage), "half of a pair, .img", name="s.img"),
    "voxels without their header": _unsupported(_raw(bytes(999)), "half of a pair", name="s.img"),
}

_BAD_LENGTHS = {
    "header cut": _unreadable(_damaged(lambda data: data[:300]), "not a NIfTI file"),
    "voxels cut": _unreadable(
        _damaged(lambda data: data[: len(data) * 9 // 10]), "shorter than its header declares"
    ),
    "last byte cut": _unreadable(_damaged(lambda data: data[:-1]), "shorter"),
    "gzip cut in the middle": _unreadable(
        _damaged(lambda data: data[: len(data) // 2]), "damaged", "EOFError", name=_GZ
    ),
    "gzip cut in its last bytes": _unreadable(
        _damaged(lambda data: data[:-5]), "damaged", "EOFError", name=_GZ
    ),
    "gzip cut in its first bytes": _unreadable(
        _damaged(lambda data: data[:12]), "damaged", name=_GZ
    ),
    "gzip corrupt": _unreadable(_damaged(_flipped(0.5)), "damaged", name=_GZ),
    "gzip checksum": _unreadable(_damaged(_flipped(-8)), "damaged", "CRC", name=_GZ),
    "gzip length": _unreadable(_damaged(_flipped(-3)), "damaged", "length", name=_GZ),
    "gzip with something behind it": _unreadable(
        _damaged(lambda data: data + b"garbage"), "damaged", "BadGzipFile", name=_GZ
    ),
    "gzip without voxels": _unreadable(
        _raw(gzip.compress(_unpacked()[:352])), "damaged", "Expected 27216 bytes", name=_GZ
    ),
    "gzip with half of the voxels": _unreadable(
        _raw(gzip.compress(_unpacked()[:9000])), "damaged", "got 8648 bytes", name=_GZ
    ),
    "far more than declared": _unreadable(
        _raw(gzip.compress(_unpacked()) + gzip.compress(bytes(1 << 20)) * 66),
        "much longer than its header declares",
        "64 MiB",
        name=_GZ,
    ),
    "compressed, named plain": _unreadable(
        _raw(gzip.compress(_unpacked())), "compressed, but its name", "Rename"
    ),
    "plain, named compressed": _unreadable(
        _raw(_unpacked()), "the file is not compressed", "Rename", name=_GZ
    ),
    "a gigabyte, by the header": _unsupported(
        lambda path: declare_huge(path, (3, 512, 512, 512, 1, 1, 1, 1), 64, 64),
        "too much data",
        "1074 MB",
    ),
    "a gigabyte of zeros in a megabyte": _unsupported(
        as_gzip_bomb, "too much data", "1074 MB", name=_GZ
    ),
    "32767 voxels each way": _unsupported(
        lambda path: declare_huge(path, (3, 32767, 32767, 32767, 1, 1, 1, 1)),
        "too many voxels",
        "at most 134217728",
        name=_GZ,
    ),
    "a billion voxels each way": _unsupported(
        _patched(16, "<4q", 3, 10**9, 10**9, 10**9, version=2), "too many voxels"
    ),
    "large, and too small a compressed file": _unreadable(
        lambda path: declare_huge(path, (3, 500, 500, 500, 1, 1, 1, 1)),
        "bytes, compressed",
        name=_GZ,
    ),
}

_BAD_HEADERS = {
    "wrong magic": _unreadable(_patched("magic", "4s", b"xyz\0"), "lacks the NIfTI signature"),
    "wrong magic of NIfTI-2": _unreadable(
        _patched(4, "4s", b"xyz\0", version=2), "lacks the NIfTI signature"
    ),
    "magic of a pair": _unreadable(_patched("magic", "4s", b"ni1\0"), "a NIfTI pair"),
    "Analyze": _unreadable(_patched("magic", "4s", bytes(4)), "Analyze", "left and right"),
    "wrong header size": _unreadable(_patched("sizeof_hdr", "<i", 384), "not a NIfTI file"),
    "one axis": _unsupported(_patched("dim", "<h", 1), "a 2-D image, not a volume"),
    "picture": _unsupported(_array(_PLAIN[:, :, 0]), "a 2-D image, not a volume", "21 x 24"),
    "picture with a third axis": _unsupported(_array(_PLAIN[:, :, :1]), "too few voxels"),
    "too thin": _unsupported(_array(_PLAIN[:, :, :15]), "21 x 24 x 15", "at least 16"),
    "two frames": _unsupported(
        _array(np.stack([_PLAIN, _PLAIN], axis=-1)), "more than one volume", "average"
    ),
    "vectors": _unsupported(
        _array(np.stack([_PLAIN] * 3, axis=-1)[:, :, :, np.newaxis]), "more than one volume"
    ),
    "negative dimension": _unreadable(
        _patched("dim", "<4h", 3, -21, 24, 27), "impossible dimensions", "-21"
    ),
    "no dimensions": _unreadable(_patched("dim", "<h", 0), "impossible dimensions"),
    "nine dimensions": _unreadable(_patched("dim", "<h", 9), "impossible dimensions"),
    "negative number of dimensions": _unreadable(_patched("dim", "<h", -3), "impossible"),
    "no frame": _unreadable(_patched("dim", "<5h", 4, 21, 24, 27, 0), "impossible dimensions"),
    "dimensions in another byte order": _unreadable(
        _patched("dim", ">4h", 3, 21, 24, 27), "impossible dimensions"
    ),
    "RGB": _unsupported(_colour("R", "G", "B"), "not real scalars", "RGB (code 128)"),
    "RGBA": _unsupported(_colour("R", "G", "B", "A"), "RGBA (code 2304)"),
    "complex64": _unsupported(_array(_PLAIN.astype("complex64")), "complex64 (code 32)"),
    "complex128": _unsupported(_array(_PLAIN.astype("complex128")), "complex128 (code 1792)"),
    "bits": _unsupported(_patched("datatype", "<hh", 1, 1), "binary (code 1)"),
    "float128": _unsupported(_patched("datatype", "<hh", 1536, 128), "float128 (code 1536)"),
    "no type": _unsupported(_patched("datatype", "<h", 0), "none (code 0)"),
    "unknown type": _unreadable(_patched("datatype", "<h", 999), "unknown voxel type", "999"),
    "bits a voxel of another type": _unreadable(
        _patched("bitpix", "<h", 8), "contradicts itself", "int16, but 8 bits", "16 bits"
    ),
    "voxels inside the header": _unreadable(
        _patched("vox_offset", "<f", 16), "impossible voxel offset"
    ),
    "voxels at the header's end": _unreadable(_patched("vox_offset", "<f", 348), "byte 352"),
    "voxels nowhere": _unreadable(_patched("vox_offset", "<f", np.nan), "impossible voxel offset"),
    "voxels before the file": _unreadable(
        _patched("vox_offset", "<f", -1), "impossible voxel offset"
    ),
    "voxels far away": _unreadable(_patched("vox_offset", "<f", 1e20), "impossible voxel offset"),
    "voxels at half a byte": _unreadable(
        _patched("vox_offset", "<f", 352.5), "impossible voxel offset"
    ),
    "slope infinite": _unreadable(
        _patched("scl_slope", "<ff", np.inf, 0), "not numbers", "slope inf, intercept 0"
    ),
    "intercept NaN": _unreadable(_patched("scl_slope", "<ff", 1, np.nan), "not numbers", "nan"),
}

_BAD_PLACES = {
    "size zero": _unsupported(
        _patched("pixdim", "<4f", 1, 0, 1, 1), "implausible voxel sizes", "0 x 1"
    ),
    "size negative": _unsupported(
        _patched("pixdim", "<4f", 1, 1, -1, 1), "implausible voxel sizes"
    ),
    "size negative, and only a qform": _unsupported(
        _after(_patched("pixdim", "<4f", 1, 1, -1, 1), _NO_SFORM), "implausible voxel sizes"
    ),
    "size NaN": _unsupported(_patched("pixdim", "<4f", 1, 1, 1, np.nan), "implausible voxel sizes"),
    "size infinite": _unsupported(
        _patched("pixdim", "<4f", 1, np.inf, 1, 1), "implausible voxel sizes"
    ),
    "size in micrometres": _unsupported(
        _forms(_moved(stretch=1000), _moved(stretch=1000)), "1000 x 1500", "unit (millimetres)"
    ),
    "size in metres": _unsupported(
        _forms(_moved(stretch=0.001), _moved(stretch=0.001)), "0.05 to 10 mm"
    ),
    "size of the affine alone in micrometres": _unsupported(
        _forms(_moved(stretch=1000)), "mm by the affine"
    ),
    "size and affine contradict": _unsupported(
        _forms(_moved(stretch=2)), "contradicts itself about the voxel size", "2 x 3 x 4 mm by"
    ),
    "no orientation": _unsupported(
        _after(store_phantom, _NO_SFORM, _NO_QFORM), "the orientation", "from DICOM"
    ),
    "negative codes": _unsupported(
        _patched("qform_code", "<hh", -1, -1), "does not define the orientation"
    ),
    "qform no rotation": _unreadable(
        _after(_patched("quatern_b", "<3f", 3, 3, 3), _NO_SFORM), "qform is not a rotation", "[3.0"
    ),
    "qform beyond floating point": _unreadable(
        _after(_patched("quatern_b", "<3f", 1e30, 0, 0), _NO_SFORM), "qform is not a rotation"
    ),
    "qform NaN": _unreadable(
        _after(_patched("quatern_b", "<3f", 0, np.nan, 0), _NO_SFORM), "qform is not a rotation"
    ),
    "sform flat": _unsupported(_patched("srow_z", "<4f", 0, 1.5, 0, 0), "independent axes"),
    "sform zero": _unsupported(_patched("srow_x", "<12f", *[0.0] * 12), "independent axes"),
    "sform NaN": _unsupported(_patched("srow_x", "<f", np.nan), "independent axes"),
    "sform beyond floating point": _unsupported(
        _patched(400, "<d", 1e200, version=2), "independent axes", "1e+200"
    ),
    "sform without a place": _unsupported(
        _patched("srow_x", "<4f", 1, 0, 0, np.inf), "independent axes"
    ),
    "forms that swap left and right": _unsupported(
        _forms(qform=np.diag([-1.0, 1, 1, 1]) @ AFFINE),
        "sform and qform disagree",
        "RAS by the sform, LAS by the qform, up to 180 degrees",
        "set its code to 0",
    ),
    "forms that swap top and bottom": _unsupported(
        _forms(qform=_turned(180)), "sform and qform disagree", "RPI by the qform"
    ),
    "forms that swap axes": _unsupported(
        _forms(sform=_turned(90)), "sform and qform disagree", "RSP by the sform"
    ),
    "forms further apart than half a right angle": _unsupported(
        _forms(qform=_turned(50)), "up to 50 degrees apart", "within 45 degrees"
    ),
}

_MASK = (_PLAIN > 0).astype("uint8")
_BAD_VOXELS = {
    "all zero": _pictureless(_array(_PLAIN * 0), "all voxels are zero", "export it again"),
    "constant": _pictureless(_array(_PLAIN * 0 + 7), "the volume is constant", "7 everywhere"),
    "constant by its scale": _pictureless(_patched("scl_slope", "<ff", 1e-45, 7), "is constant"),
    "mask": _pictureless(_array(_MASK), "two values: a mask, not an image", "0 and 1"),
    "mask of 255": _pictureless(_array(_MASK * 255), "two values", "0 and 255", name=_GZ),
    "constant but for one voxel": _pictureless(_array(_with_value(9) * 0 + _MASK * 3), "0 and 3"),
    "all NaN": _pictureless(_array(_PLAIN * np.float32(np.nan)), "13608 of 13608"),
    "one NaN": _pictureless(_array(_with_value(np.nan)), "not finite", "1 of 13608"),
    "one infinity": _pictureless(_array(_with_value(-np.inf)), "not finite", "1 of 13608"),
    "beyond float32": _pictureless(_array(_PLAIN.astype("float64") * 1e300), "NaN or infinite"),
    "scale beyond float32": _pictureless(_patched("scl_slope", "<ff", 3e38, 0), "infinite"),
    "integers called floating point": _pictureless(
        _patched("datatype", "<hh", 16, 32, dtype="int32"), "too small to be intensities"
    ),
    "short integers called floating point": _unreadable(
        _patched("datatype", "<hh", 16, 32), "shorter than its header declares"
    ),
}

#: What a cohort may hold in place of a scan.
BAD_SCANS: Mapping[str, BadScan] = {
    **_BAD_FILES,
    **_BAD_LENGTHS,
    **_BAD_HEADERS,
    **_BAD_PLACES,
    **_BAD_VOXELS,
}


def scan_entry(folder: Path, entry: BadScan | OddScan) -> Path:
    """Make an entry's file in a folder of its own, and return where it lies."""
    path = folder / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    entry.make(path)
    return path


@dataclasses.dataclass(frozen=True)
class OddScan:
    """A file that is legal: it must give these voxels and, in RAS+, this affine."""

    make: Maker
    name: str = "s.nii"
    voxels: Array = dataclasses.field(default_factory=asymmetric_phantom)
    affine: Array = dataclasses.field(default_factory=AFFINE.copy)


def _stored(**options: object) -> Maker:
    return lambda path: store_nifti(path, _PLAIN, AFFINE, **options)


def _frames(*extra: int) -> Maker:
    return lambda path: nib.save(
        nib.Nifti1Image(_PLAIN.reshape(*_PLAIN.shape, *extra), AFFINE), path
    )


def _far_voxels(path: Path) -> None:
    """Leave room between header and voxels, as writers of extensions do."""
    data = bytearray(_unpacked())
    struct.pack_into("<f", data, HEADER_FIELDS["vox_offset"], 1024)
    path.write_bytes(bytes(data[:352]) + bytes(672) + bytes(data[352:]))


def _in_pieces(path: Path) -> None:
    data = _unpacked()
    path.write_bytes(b"".join(gzip.compress(data[at : at + 5000]) for at in range(0, 30000, 5000)))


def _with_file_name(path: Path) -> None:
    """Compress as gzip(1) does: the name of the file stands in the archive's header."""
    with path.open("wb") as raw, gzip.GzipFile("scan.nii", "wb", fileobj=raw) as stream:
        stream.write(_unpacked())


_EIGHT_BIT = np.round(_PLAIN / 40)
_OBLIQUE = _turned(20)

#: What is unusual, and right.
ODD_SCANS: Mapping[str, OddScan] = {
    **{f"of {dtype}": OddScan(_stored(dtype=dtype)) for dtype in (">i2", "<u4", ">f4", "<f8")},
    **{f"of {dtype}": OddScan(_stored(dtype=dtype)) for dtype in ("int64", "uint64")},
    "of int8": OddScan(_array((_EIGHT_BIT - 60).astype("int8")), voxels=_EIGHT_BIT - 60),
    "of uint8": OddScan(_array(_EIGHT_BIT.astype("uint8")), voxels=_EIGHT_BIT),
    "NIfTI-2": OddScan(_stored(version=2), name=_GZ),
    "NIfTI-2, big-endian": OddScan(_stored(version=2, dtype=">f8")),
    "name in capitals": OddScan(_stored(), name="S.NII.GZ"),
    "name with blanks": OddScan(_stored(), name="scan of Monday, second.nii.gz"),
    "name with accents, composed": OddScan(_stored(), name="Zoë Müller 東京.nii"),
    "name with accents, decomposed": OddScan(
        _stored(), name=unicodedata.normalize("NFD", "Zoë Müller.nii")
    ),
    "name like an option": OddScan(_stored(), name="--help.nii"),
    "name with a line break": OddScan(_stored(), name="first\nsecond.nii"),
    "name with quotation marks": OddScan(_stored(), name="a\"b'c$(d).nii"),
    "long name": OddScan(_stored(), name="n" * 240 + ".nii.gz"),
    "link": OddScan(_linked),
    "scale and intercept": OddScan(
        _patched("scl_slope", "<ff", 0.5, -1024), voxels=_PLAIN * 0.5 - 1024
    ),
    "scale negative": OddScan(_patched("scl_slope", "<ff", -1, 0), voxels=-_PLAIN),
    "slope zero": OddScan(_patched("scl_slope", "<ff", 0, 5)),
    "slope NaN": OddScan(_patched("scl_slope", "<ff", np.nan, np.nan)),
    "bits a voxel left out": OddScan(_patched("bitpix", "<h", 0)),
    "unit left out": OddScan(_patched("xyzt_units", "B", 0)),
    "one frame": OddScan(_frames(1)),
    "one frame of one vector": OddScan(_frames(1, 1)),
    "stored PSR": OddScan(_stored(axcodes="PSR")),
    "stored mirrored": OddScan(_stored(axcodes="LAS")),
    "oblique": OddScan(_forms(_OBLIQUE, _OBLIQUE), affine=_OBLIQUE),
    "sheared": OddScan(_forms(_moved(shear=0.4)), affine=_moved(shear=0.4)),
    "only an sform": OddScan(_after(store_phantom, _NO_QFORM)),
    "only a qform": OddScan(_after(store_phantom, _NO_SFORM)),
    "only a qform, its sign left out": OddScan(_after(_patched("pixdim", "<f", 0), _NO_SFORM)),
    "sform void, turned": OddScan(_forms(_turned(90), codes=(0, 1))),
    "qform void, turned": OddScan(_forms(qform=_turned(90), codes=(1, 0))),
    "qform no rotation beside an sform": OddScan(_patched("quatern_b", "<3f", 3, 3, 3)),
    "sform of a template, turned": OddScan(_forms(_turned(20), codes=(4, 1)), affine=_turned(20)),
    "sform of a template, stretched": OddScan(
        _forms(_moved(stretch=1.2), codes=(4, 1)), affine=_moved(stretch=1.2)
    ),
    "sform shifted": OddScan(_forms(_moved(by_mm=60)), affine=_moved(by_mm=60)),
    "header extension": OddScan(_far_voxels),
    "bytes behind the voxels": OddScan(_raw(_unpacked() + bytes(5000))),
    "bytes behind the voxels, compressed": OddScan(
        _raw(gzip.compress(_unpacked() + bytes(5000))), name=_GZ
    ),
    "zeros behind gzip": OddScan(_raw(gzip.compress(_unpacked()) + bytes(512)), name=_GZ),
    "gzip in pieces": OddScan(_in_pieces, name=_GZ),
    "gzip with the file's name": OddScan(_with_file_name, name=_GZ),
    "gzip without compression": OddScan(_raw(gzip.compress(_unpacked(), 0)), name=_GZ),
    "three values": OddScan(
        _array((_PLAIN > 0) + (_PLAIN > 2000).astype("uint8")),
        voxels=(_PLAIN > 0) + (_PLAIN > 2000).astype("uint8"),
    ),
}


def write_table_folder(folder: Path) -> Path:
    """Make the folder that the gallery's tables speak of: scans/a.nii to f.nii, and traps.

    Its parent gets a file that no table may lead to.
    """
    scans = folder / "scans"
    scans.mkdir(parents=True)
    for name in "abcdef":
        (scans / f"{name}.nii").write_bytes(name.encode() * 100)
    (scans / "copy.nii").write_bytes((scans / "a.nii").read_bytes())
    (scans / "packed.nii.gz").write_bytes(gzip.compress((scans / "a.nii").read_bytes()))
    (scans / "two words, Zoë.nii").write_bytes(b"named")
    (scans / unicodedata.normalize("NFD", "é.nii")).write_bytes(b"decomposed")
    (folder.parent / "secret.nii").write_bytes(b"secret")
    (scans / "leak.nii").symlink_to(folder.parent / "secret.nii")
    (folder / "out").symlink_to(folder.parent, target_is_directory=True)
    (scans / "dangling.nii").symlink_to(scans / "none.nii")
    (scans / "loop.nii").symlink_to(scans / "loop.nii")
    os.mkfifo(scans / "pipe.nii")
    return folder


@dataclasses.dataclass(frozen=True)
class BadTable:
    """A faulty table: one fault, at this row and column, with all these words in its message."""

    text: str | bytes
    row: int | None
    column: str | None
    says: tuple[str, ...]


_HEAD = "patient_id,session_id,path,label,age,sex\n"


def _cell(column: str, cell: str, *says: str) -> BadTable:
    """Return a table of one row with one bad cell in it."""
    cells = {"patient_id": "p1", "scan_id": "s1", "path": "scans/a.nii", column: cell}
    quoted = ",".join(f'"{value}"' for value in cells.values())
    return BadTable(",".join(cells) + "\n" + quoted + "\n", 2, column, says)


def _form_of(text: str | bytes, *says: str) -> BadTable:
    """Return a table that is wrong as a whole."""
    return BadTable(text, None, None, says)


_TWO_ROWS = "patient_id,path\np1,scans/a.nii\n"

_BAD_ROWS = {
    "repeated scan_id": BadTable(
        "patient_id,scan_id,path\np1,s,scans/a.nii\np2,s,scans/b.nii\n",
        3,
        "scan_id",
        ("two rows with one scan_id", "s, as in row 2", "its own scan_id"),
    ),
    "scan_id not given and not unique": BadTable(
        _HEAD + "p1,1,scans/a.nii,,,\np1,1,scans/b.nii,,,\n",
        3,
        "scan_id",
        ("p1_1, as in row 2", "Add a column scan_id"),
    ),
    "two labels": BadTable(
        _HEAD + "p1,1,scans/a.nii,CN,,\np1,2,scans/b.nii,,,\np1,3,scans/c.nii,AD,,\n",
        4,
        "label",
        ("patient p1 has 2 different values of label", "CN (row 2), AD (row 4)"),
    ),
    "two sexes": BadTable(
        _HEAD + "p1,1,scans/a.nii,,,F\np1,2,scans/b.nii,,,male\n",
        3,
        "sex",
        ("patient p1 has 2 different values of sex", "F (row 2), M (row 3)"),
    ),
    "one file under two patients": BadTable(
        _HEAD + "p1,,scans/a.nii,,,\np2,,scans/copy.nii,,,\n",
        3,
        "path",
        ("one file under two patients", "copy.nii of patient p2", "row 2, patient p1"),
    ),
    "one file under two patients, compressed": BadTable(
        _HEAD + "p1,,scans/a.nii,,,\np2,,scans/packed.nii.gz,,,\n",
        3,
        "path",
        ("one file under two patients",),
    ),
    "one path under two patients": BadTable(
        _HEAD + "p1,,scans/a.nii,,,\np2,,scans/a.nii,,,\n", 3, "path", ("two patients",)
    ),
    "column missing": BadTable(
        "subject,path\np1,scans/a.nii\n", 1, "patient_id", ("missing", "subject, path")
    ),
    "column in capitals": BadTable(
        "PATIENT_ID,path\np1,scans/a.nii\n", 1, "patient_id", ("missing", "PATIENT_ID, path")
    ),
    "column twice": BadTable(
        "patient_id,path,age,age\np1,scans/a.nii,1,2\n", 1, "age", ("duplicate column",)
    ),
    "column without a name": BadTable(
        ",patient_id,path\n0,p1,scans/a.nii\n", 1, None, ("column 1 has no name", "row index")
    ),
    "column name taken": BadTable(
        "patient_id,path,n_scans\np1,scans/a.nii,1\n", 1, "n_scans", ("is reserved",)
    ),
    "row too long": BadTable(
        _TWO_ROWS + "p2,scans/b.nii,AD\n", 3, None, ("different numbers of cells", "3")
    ),
    "row too short": BadTable(
        "patient_id,path,label\np1,scans/a.nii\n", 2, None, ("different numbers of cells", "2")
    ),
    "quote never closed": BadTable(_TWO_ROWS + 'p2,"scans/b.nii\n', 3, None, ("quotation mark",)),
    "cell of a megabyte": BadTable(
        _TWO_ROWS + "p2," + "x" * 10**6 + "\n", 3, None, ("cannot be read", "limit")
    ),
}

_BAD_CELLS = {
    "path out of the folder": _cell(
        "path", "../secret.nii", "leaves the cohort's folder", "../secret.nii", "absolute path"
    ),
    "path out of the folder by a detour": _cell(
        "path", "scans/../../secret.nii", "leaves the cohort's folder"
    ),
    "link to a file out of the folder": _cell("path", "scans/leak.nii", "a symbolic link"),
    "link to a folder out of the folder": _cell("path", "out/secret.nii", "a symbolic link"),
    "missing file": _cell("path", "scans/none.nii", "the file is missing", "scans/none.nii"),
    "missing absolute file": _cell("path", "/none/a.nii", "the file is missing"),
    "missing file behind a link": _cell("path", "scans/dangling.nii", "link is broken", "datalad"),
    "link to itself": _cell("path", "scans/loop.nii", "is broken"),
    "path of another system": _cell(
        "path", "C:\\scans\\a.nii", "the file is missing", "not with a backslash"
    ),
    "path in another Unicode form": _cell(
        "path", "scans/é.nii", "the file is missing", "in Unicode NFD"
    ),
    "path from a home folder": _cell("path", "~/a.nii", "the file is missing", "in full, not as ~"),
    "path too long": _cell("path", "x" * 300 + ".nii", "cannot be reached", "too long"),
    "address": _cell("path", "https://example.org/a.nii.gz", "a URL, not a path"),
    "address of a bucket": _cell("path", "s3://bucket/a.nii.gz", "not a path", "Download"),
    "folder": _cell("path", "scans", "the path is a folder"),
    "pipe": _cell("path", "scans/pipe.nii", "not a regular file"),
    "no path": _cell("path", "", "the cell is empty", "delete the row"),
    "no patient": _cell("patient_id", "NA", "the cell is empty"),
    "age in words": _cell("age", "old", "age is not a number", "'old'"),
    "age with its unit": _cell("age", "74 years", "age is not a number", "'74 years'"),
    "age as DICOM writes it": _cell("age", "074Y", "age is not a number", "in years"),
    "age with a comma": _cell("age", "70,5", "age is not a number", "decimal point"),
    "age infinite": _cell("age", "inf", "age is not a number"),
    "age that a spreadsheet could not compute": _cell("age", "#VALUE!", "not a number"),
    "age above range": _cell("age", "500", "out of range", "0 to 120 years"),
    "age below range": _cell("age", "-1", "out of range"),
    "sex as a code": _cell("sex", "1", "'1'", "F or M", "numeric codes"),
    "sex unknown": _cell("sex", "unknown", "unknown value", "leave the cell empty"),
    "patient like a path": _cell("patient_id", "a/b", "part of a file name", "'a/b'"),
    "patient like a folder": _cell("patient_id", "..", "part of a file name"),
    "patient with a control character": _cell("patient_id", "a\x07b", "part of a file name"),
    "patient with a line break": _cell("patient_id", "a\nb", "part of a file name", "'a\\nb'"),
    "patient with a long name": _cell("patient_id", "p" * 101, "up to 100 characters"),
    "session like a path": _cell("session_id", "1\\2", "part of a file name"),
    "scan like a drive": _cell("scan_id", "c:s", "part of a file name"),
    "patient by a formula": _cell("patient_id", "=A2&B2", "a formula", "'=A2&B2'", "Export"),
    "label that a spreadsheet lacks": _cell("label", "#N/A", "spreadsheet error", "'#N/A'"),
    "site that a spreadsheet lost": _cell("site", "#REF!", "spreadsheet error"),
}

_BAD_FORMS = {
    "no rows": _form_of(_HEAD, "the table has no rows"),
    "nothing at all": _form_of("", "the table is empty", "header"),
    "blank lines alone": _form_of("\n,,,\n\n", "the table is empty"),
    "semicolons": _form_of("patient_id;path\np1;scans/a.nii\n", "semicolons", "with commas"),
    "bytes of zero": _form_of("patient_id,path\np1,\0\n", "not text", "a null byte"),
    "Latin-1": _form_of(
        "patient_id,path\nZoë,scans/a.nii\n".encode("latin-1"), "not UTF-8", "0xeb at position 18"
    ),
    "UTF-16": _form_of(_TWO_ROWS.encode("utf-16"), "text in UTF-16", "CSV in UTF-8"),
    "Excel workbook": _form_of(b"PK\x03\x04" + bytes(range(256)), "an Excel workbook"),
    "old Excel workbook": _form_of(b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel workbook (.xls)"),
    "compressed": _form_of(gzip.compress(_TWO_ROWS.encode()), "gzip-compressed"),
}

#: What may be handed over in place of a manifest.
BAD_TABLES: Mapping[str, BadTable] = {**_BAD_ROWS, **_BAD_CELLS, **_BAD_FORMS}


@dataclasses.dataclass(frozen=True)
class OddTable:
    """A legal table: these columns must hold these values."""

    text: str | bytes
    expected: Mapping[str, Sequence[object]]


#: What is unusual in a table, and right.
ODD_TABLES: Mapping[str, OddTable] = {
    "as Excel writes it": OddTable(
        b"\xef\xbb\xbf" + b"patient_id,path,age\r\nZo\xc3\xab,scans/a.nii,70.5\r\n",
        {"patient_id": ["Zoë"], "age": [70.5]},
    ),
    "marked twice": OddTable("\ufeff\ufeff" + _TWO_ROWS, {"patient_id": ["p1"]}),
    "tabs": OddTable("path\tpatient_id\nscans/a.nii\tp,1\n", {"patient_id": ["p,1"]}),
    "ends of old Macintosh": OddTable(_TWO_ROWS.replace("\n", "\r"), {"patient_id": ["p1"]}),
    "blank lines and columns": OddTable(
        "\n\npatient_id,path,,\n,,,\np1,scans/a.nii,,\n\n", {"patient_id": ["p1"]}
    ),
    "blanks around cells": OddTable(
        "patient_id , path ,label\n p1 ,scans/a.nii , AD \n", {"label": ["AD"]}
    ),
    "letters that cannot be seen": OddTable(
        "patient_id,path,label\np1,\u202ascans/a.nii,AD\u200b\n", {"label": ["AD"]}
    ),
    "sex in words": OddTable(
        "patient_id,path,sex\np1,scans/a.nii,Female\np2,scans/b.nii,m\n", {"sex": ["F", "M"]}
    ),
    "ids like numbers": OddTable(
        "patient_id,path\n001,scans/a.nii\n1e3,scans/b.nii\n", {"patient_id": ["001", "1e3"]}
    ),
    "ids like formulas that are none": OddTable(
        "patient_id,path,label\n-1,scans/a.nii,+\n@x,scans/b.nii,+\n", {"patient_id": ["-1", "@x"]}
    ),
    "formula in a note": OddTable(
        "patient_id,path,note\np1,scans/a.nii,=1+1\n", {"note": ["=1+1"]}
    ),
    "line break in a note": OddTable(
        'patient_id,path,note\np1,scans/a.nii,"a\nb"\n', {"note": ["a b"]}
    ),
    "path with blanks, comma and accent": OddTable(
        'patient_id,path\np1,"scans/two words, Zoë.nii"\n', {"patient_id": ["p1"]}
    ),
    "path with a detour": OddTable(
        "patient_id,path\np1,./scans/../scans/a.nii\n", {"patient_id": ["p1"]}
    ),
    "one path twice for one patient": OddTable(
        "patient_id,session_id,path\np1,1,scans/a.nii\np1,2,scans/a.nii\n",
        {"scan_id": ["p1_1", "p1_2"]},
    ),
    "accents in two spellings": OddTable(
        "patient_id,session_id,path\ne\u0301,1,scans/a.nii\n\u00e9,2,scans/b.nii\n",
        {"patient_id": ["\u00e9", "\u00e9"]},
    ),
}
