//! Executes planned graphs on the CPU; all SIMD and all unsafe code live here.
