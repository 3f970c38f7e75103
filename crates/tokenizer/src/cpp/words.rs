//! The words of the fixed vocabulary. Their order fixes ids: append, never reorder.
//!
//! As many on a line as fit: one on each would hide what is there.

/// Keywords, alternative tokens and identifiers with special meaning of C++23, and C's own.
#[rustfmt::skip]
pub const KEYWORDS: &[&str] = &[
    "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch",
    "char", "char8_t", "char16_t", "char32_t", "class", "compl", "concept", "const", "consteval", "constexpr",
    "constinit", "const_cast", "continue", "co_await", "co_return", "co_yield", "decltype", "default", "delete",
    "do", "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for",
    "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq",
    "nullptr", "operator", "or", "or_eq", "private", "protected", "public", "register", "reinterpret_cast",
    "requires", "return", "short", "signed", "sizeof", "static", "static_assert", "static_cast", "struct",
    "switch", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename",
    "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq", "override",
    "final", "import", "module", "restrict", "typeof",
];

/// What follows `#`; `if` and `else` are keywords as well.
#[rustfmt::skip]
pub(crate) const DIRECTIVES: &[&str] = &[
    "include", "define", "ifdef", "ifndef", "endif", "elif", "undef", "pragma", "error", "warning", "line",
    "elifdef", "elifndef",
];

/// Operators and punctuators of two characters and more.
#[rustfmt::skip]
pub(crate) const OPERATORS: &[&str] = &[
    "::", "->", "->*", ".*", "...", "++", "--", "<<", ">>", "<=", ">=", "<=>", "==", "!=", "&&", "||", "+=", "-=",
    "*=", "/=", "%=", "^=", "&=", "|=", "<<=", ">>=", "##", "//", "///", "//!", "/*", "/**", "*/", "**/", "[[",
    "]]", "()", "[]", "{}", "<>", "\"\"", "''", "());", "();", ");", "};", "),", "))", "((", "){", "})", "});", "(\"",
    "\")", "\");", "\",", "\";", "';", "],", "];", "]);", "->*(", "::*", "&&(", "!(", "<:", ":>", "<%", "%>",
];

/// Single characters that often stand after a blank.
pub(crate) const AFTER_BLANK: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Types, functions and members of the standard library and of C's, and names that only stand in the preprocessor.
/// Those with an underscore or a digit are whole pieces where they stand as words.
#[rustfmt::skip]
pub(crate) const NAMES: &[&str] = &[
    "size_t", "ssize_t", "ptrdiff_t", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t",
    "uint32_t", "uint64_t", "intptr_t", "uintptr_t", "intmax_t", "uintmax_t", "nullptr_t", "max_align_t",
    "time_t", "off_t", "std", "string", "string_view", "basic_string", "vector", "map", "set", "list", "deque",
    "array", "span", "pair", "tuple", "optional", "variant", "any", "function", "bitset", "stack", "queue",
    "priority_queue", "unordered_map", "unordered_set", "multimap", "multiset", "forward_list",
    "initializer_list", "unique_ptr", "shared_ptr", "weak_ptr", "make_unique", "make_shared", "make_pair",
    "make_tuple", "move", "forward", "swap", "exchange", "get", "begin", "end", "cbegin", "cend", "rbegin",
    "rend", "size", "empty", "clear", "insert", "erase", "find", "count", "front", "back", "data", "at",
    "push_back", "emplace_back", "pop_back", "push_front", "emplace_front", "pop_front", "push", "pop", "top",
    "emplace", "try_emplace", "reserve", "resize", "capacity", "shrink_to_fit", "assign", "append", "substr",
    "c_str", "find_first_of", "find_last_of", "find_first_not_of", "find_last_not_of", "starts_with",
    "ends_with", "npos", "first", "second", "key_type", "mapped_type", "value_type", "size_type",
    "difference_type", "reference", "pointer", "const_reference", "const_pointer", "iterator",
    "const_iterator", "reverse_iterator", "const_reverse_iterator", "iterator_traits", "iterator_category",
    "back_inserter", "distance", "advance", "next", "prev", "sort", "stable_sort", "copy", "copy_if", "copy_n",
    "fill", "fill_n", "find_if", "find_if_not", "for_each", "transform", "accumulate", "all_of", "any_of",
    "none_of", "remove_if", "lower_bound", "upper_bound", "equal_range", "binary_search", "max_element",
    "min_element", "minmax", "min", "max", "clamp", "abs", "reverse", "unique", "iota", "to_string", "stoi",
    "stol", "stoul", "stoull", "stod", "to_chars", "from_chars", "cout", "cerr", "cin", "endl", "ostream",
    "istream", "iostream", "stringstream", "ostringstream", "istringstream", "ifstream", "ofstream", "fstream",
    "getline", "printf", "fprintf", "snprintf", "sprintf", "vsnprintf", "puts", "fputs", "fwrite", "fread",
    "fopen", "fclose", "stdout", "stderr", "stdin", "malloc", "calloc", "realloc", "free", "memcpy", "memmove",
    "memset", "memcmp", "strlen", "strcmp", "strncmp", "strcpy", "strchr", "strtol", "atoi", "exit", "abort",
    "assert", "errno", "thread", "mutex", "recursive_mutex", "shared_mutex", "lock_guard", "unique_lock",
    "shared_lock", "scoped_lock", "condition_variable", "notify_one", "notify_all", "wait", "lock", "unlock",
    "join", "future", "promise", "async", "this_thread", "sleep_for", "atomic", "load", "store", "fetch_add",
    "fetch_sub", "compare_exchange_strong", "compare_exchange_weak", "memory_order_relaxed",
    "memory_order_acquire", "memory_order_release", "memory_order_acq_rel", "memory_order_seq_cst", "chrono",
    "milliseconds", "microseconds", "nanoseconds", "seconds", "duration", "duration_cast", "time_point",
    "steady_clock", "system_clock", "high_resolution_clock", "exception", "runtime_error", "logic_error",
    "invalid_argument", "out_of_range", "length_error", "system_error", "bad_alloc", "error_code",
    "error_category", "what", "numeric_limits", "type_traits", "true_type", "false_type", "integral_constant",
    "enable_if", "enable_if_t", "conditional", "conditional_t", "decay", "decay_t", "declval", "void_t",
    "is_same", "is_same_v", "is_integral", "is_integral_v", "is_floating_point", "is_floating_point_v",
    "is_arithmetic", "is_pointer", "is_reference", "is_enum", "is_base_of", "is_convertible",
    "is_constructible", "is_default_constructible", "is_copy_constructible", "is_move_constructible",
    "is_nothrow_move_constructible", "is_trivially_copyable", "is_signed", "is_unsigned", "is_void",
    "remove_reference", "remove_reference_t", "remove_cv", "remove_cv_t", "remove_cvref_t", "remove_const",
    "remove_pointer", "add_const", "underlying_type", "underlying_type_t", "common_type", "common_type_t",
    "make_signed", "make_unsigned", "index_sequence", "make_index_sequence", "index_sequence_for",
    "tuple_size", "tuple_element", "char_traits", "allocator", "allocator_traits", "hash", "less", "greater",
    "equal_to", "ref", "cref", "bind", "mem_fn", "move_if_noexcept", "static_pointer_cast",
    "dynamic_pointer_cast", "const_pointer_cast", "enable_shared_from_this", "shared_from_this",
    "reference_wrapper", "in_place", "nullopt", "has_value", "value_or", "value", "type", "filesystem", "path",
    "regex", "random_device", "uniform_int_distribution", "mt19937", "mt19937_64", "random", "algorithm",
    "cassert", "cctype", "cerrno", "cfloat", "climits", "cmath", "cstddef", "cstdarg", "cstdint", "cstdio",
    "cstdlib", "cstring", "ctime", "functional", "iomanip", "limits", "memory", "numeric", "ranges",
    "sstream", "stdexcept", "utility", "inttypes", "stdint", "stddef", "stdlib", "stdio", "unistd", "pthread",
    "sys", "defined", "once", "main", "argc", "argv", "maybe_unused", "nodiscard", "noreturn", "fallthrough",
    "deprecated", "likely", "unlikely", "no_unique_address", "carries_dependency", "__attribute", "__cplusplus",
    "__builtin", "__declspec", "__func", "_MSC", "NULL", "EOF", "TODO", "NOTE", "FIXME",
];
