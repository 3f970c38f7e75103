//! C and C++ source trees to documents.
