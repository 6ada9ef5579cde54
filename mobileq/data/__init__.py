"""Labelled image patches: PCam's HDF5 files, synthetic tissue, and their transforms.

`patches` holds the interface that every source implements, `pcam` the reader of the
official files, `synthetic` a stand-in that needs no download, `transforms` the way from
uint8 NHWC patches to the float32 NCHW batches that a network takes.
"""
