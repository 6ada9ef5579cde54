"""Labelled images: files of several kinds, synthetic tissue, and their transforms.

`patches` holds the interface that every source implements. `pcam` reads the official
HDF5 files, `folder` pictures in one folder per class, `npz` arrays in a file;
`synthetic` is a stand-in that needs no download. `source` opens what the command line
names, and `fingerprint` says whether two sets are the same. `transforms` is the way
from uint8 NHWC patches to the float32 NCHW batches that a network takes.
"""
