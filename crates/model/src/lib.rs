//! GPT as graph-building functions: configuration, parameter names, initialisation.
