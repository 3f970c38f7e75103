//! The graph IR: shapes, ops, derivative rules, FLOP count and memory plan; knows no hardware.
