//! Byte-level BPE: training, encoding, decoding and exchange formats.
