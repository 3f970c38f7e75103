//! What a compiler says of itself: its macros and those of the standard library, as clang has them on 64-bit Linux for
//! C++17. Unknown is what only a build can tell.

/// The value of a macro that compilers or builds set: `None` if nobody can know, `Some(None)` if it is not defined.
pub(crate) fn value(name: &str, is_c: bool) -> Option<Option<i64>> {
    if let Some(feature) = name.strip_prefix("__cpp_") {
        return Some(language_feature(feature).filter(|_| !is_c));
    }
    Some(match name {
        "__cplusplus" => Some(201_703).filter(|_| !is_c),
        "__STDC_VERSION__" => Some(201_112).filter(|_| is_c),
        "__GNUC__" | "__SIZEOF_INT__" | "__SIZEOF_FLOAT__" | "__SIZEOF_WCHAR_T__" => Some(4),
        "__GNUC_MINOR__" | "__SIZEOF_SHORT__" | "__GLIBC__" => Some(2),
        "__clang__"
        | "__llvm__"
        | "__linux__"
        | "__linux"
        | "linux"
        | "__gnu_linux__"
        | "__unix__"
        | "__unix"
        | "unix"
        | "__x86_64__"
        | "__x86_64"
        | "__amd64__"
        | "__amd64"
        | "__EXCEPTIONS"
        | "__STDC__"
        | "__STDC_HOSTED__"
        | "__LP64__"
        | "_LP64"
        | "__GXX_RTTI"
        | "__GNUC_PATCHLEVEL__"
        | "__GNUG__"
        | "__ELF__"
        | "_GNU_SOURCE"
        | "__SSE__"
        | "__SSE2__"
        | "__MMX__"
        | "__NO_INLINE__"
        | "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_4"
        | "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8"
        | "__clang_minor__"
        | "__has_include"
        | "__has_attribute"
        | "__has_cpp_attribute"
        | "__has_builtin"
        | "__has_feature"
        | "__has_extension"
        | "__has_include_next"
        | "__has_declspec_attribute"
        | "__has_warning"
        | "__is_identifier" => Some(1),
        "__clang_major__" => Some(18),
        "_GLIBCXX_RELEASE" => Some(12),
        // The day of release, as digits.
        "__GLIBCXX__" => Some(20_220_819),
        "__GLIBC_MINOR__" => Some(36),
        "__SIZEOF_INT128__" | "__SIZEOF_LONG_DOUBLE__" => Some(16),
        "__SIZEOF_POINTER__"
        | "__SIZEOF_LONG__"
        | "__SIZEOF_LONG_LONG__"
        | "__SIZEOF_SIZE_T__"
        | "__CHAR_BIT__"
        | "CHAR_BIT"
        | "__SIZEOF_DOUBLE__" => Some(8),
        "__WORDSIZE" => Some(64),
        "__BYTE_ORDER__"
        | "__ORDER_LITTLE_ENDIAN__"
        | "__BYTE_ORDER"
        | "__LITTLE_ENDIAN"
        | "BYTE_ORDER"
        | "LITTLE_ENDIAN" => Some(1234),
        "__ORDER_BIG_ENDIAN__" | "__BIG_ENDIAN" | "BIG_ENDIAN" => Some(4321),
        "__INT_MAX__" | "INT_MAX" => Some(i64::from(i32::MAX)),
        "UINT_MAX" => Some(i64::from(u32::MAX)),
        "__LONG_MAX__" | "LONG_MAX" | "INT64_MAX" | "LLONG_MAX" => Some(i64::MAX),
        "NDEBUG"
        | "_WIN32"
        | "_WIN64"
        | "WIN32"
        | "_MSC_VER"
        | "__MINGW32__"
        | "__MINGW64__"
        | "__CYGWIN__"
        | "__APPLE__"
        | "__MACH__"
        | "TARGET_OS_MAC"
        | "TARGET_OS_IPHONE"
        | "__ANDROID__"
        | "ANDROID"
        | "__CUDACC__"
        | "__CUDA_ARCH__"
        | "__HIPCC__"
        | "__HIP__"
        | "__INTEL_COMPILER"
        | "__INTEL_LLVM_COMPILER"
        | "__ICL"
        | "__ICC"
        | "__SUNPRO_CC"
        | "__sun"
        | "__sun__"
        | "__FreeBSD__"
        | "__NetBSD__"
        | "__OpenBSD__"
        | "__DragonFly__"
        | "__HAIKU__"
        | "__QNX__"
        | "__BORLANDC__"
        | "__NVCC__"
        | "__TINYC__"
        | "__SUNPRO_C"
        | "__EMSCRIPTEN__"
        | "_AIX"
        | "OS_WIN"
        | "OS_WINDOWS"
        | "OS_MACOSX"
        | "OS_ANDROID"
        | "__WATCOMC__"
        | "OS_FREEBSD"
        | "OS_SOLARIS"
        | "OS_AIX"
        | "__aarch64__"
        | "__arm__"
        | "__powerpc64__"
        | "__hpux"
        | "__powerpc__"
        | "__ppc__"
        | "__mips__"
        | "__i386__"
        | "_M_IX86"
        | "_M_X64"
        | "_M_ARM64"
        | "_M_ARM"
        | "__sgi"
        | "__s390x__"
        | "__riscv"
        | "SWIG"
        | "DOXYGEN"
        | "_ARCH_PPC"
        | "_LIBCPP_VERSION"
        | "__wasm__"
        | "__osf__"
        | "__WIN32__"
        | "_WIN32_WCE"
        | "__BIG_ENDIAN__"
        | "__ARM_NEON"
        | "__ARM_NEON__"
        | "__AVX__"
        | "__AVX2__"
        | "__AVX512F__"
        | "__SSE3__"
        | "__SSSE3__"
        | "__SSE4_1__"
        | "__SSE4_2__"
        | "__BMI2__"
        | "__OPTIMIZE__"
        | "__ARMCC_VERSION"
        | "__IAR_SYSTEMS_ICC__"
        | "__CODEGEARC__"
        | "__PGI"
        | "__ibmxl__"
        | "__xlC__"
        | "__PGIC__"
        | "__COMO__"
        | "__DMC__"
        | "__TI_COMPILER_VERSION__"
        | "_CRAYC"
        | "__CC_ARM"
        | "_MSC_FULL_VER"
        | "__COVERITY__"
        | "__clang_analyzer__"
        | "__SANITIZE_ADDRESS__"
        | "__SANITIZE_THREAD__"
        | "__native_client__"
        | "__Fuchsia__"
        | "__myriad2__"
        | "__ros__"
        | "__FAST_MATH__"
        | "__OBJC__"
        | "__STRICT_ANSI__"
        | "__BIONIC__"
        | "_MSVC_LANG"
        | "__CHAR_UNSIGNED__"
        | "__CLR_VER"
        | "__cplusplus_cli"
        | "__vxworks"
        | "__MVS__" => None,
        _ if is_guess(name) => Some(1),
        // Reserved for compilers, and not one of this compiler's.
        _ if name.starts_with("__") => None,
        _ => return None,
    })
}

/// The value of a feature-test macro `__cpp_...`; `None` for what came after C++17.
fn language_feature(name: &str) -> Option<i64> {
    if let Some(library) = name.strip_prefix("lib_") {
        return library_feature(library).then_some(201_703);
    }
    Some(match name {
        "exceptions" | "rtti" => 199_711,
        "static_assert"
        | "range_based_for"
        | "if_constexpr"
        | "constexpr"
        | "lambdas"
        | "decltype"
        | "rvalue_references"
        | "variadic_templates"
        | "initializer_lists"
        | "delegating_constructors"
        | "nsdmi"
        | "inheriting_constructors"
        | "ref_qualifiers"
        | "alias_templates"
        | "unicode_characters"
        | "raw_strings"
        | "unicode_literals"
        | "user_defined_literals"
        | "attributes"
        | "binary_literals"
        | "init_captures"
        | "generic_lambdas"
        | "decltype_auto"
        | "return_type_deduction"
        | "aggregate_nsdmi"
        | "variable_templates"
        | "digit_separators"
        | "sized_deallocation"
        | "hex_float"
        | "inline_variables"
        | "aligned_new"
        | "noexcept_function_type"
        | "fold_expressions"
        | "capture_star_this"
        | "deduction_guides"
        | "nontype_template_args"
        | "nontype_template_parameter_auto"
        | "namespace_attributes"
        | "enumerator_attributes"
        | "variadic_using"
        | "guaranteed_copy_elision"
        | "structured_bindings"
        | "aggregate_bases"
        | "constexpr_in_decltype" => 201_703,
        _ => return None,
    })
}

/// Whether C++17's library announces a feature.
fn library_feature(name: &str) -> bool {
    matches!(
        name,
        "any"
            | "optional"
            | "variant"
            | "string_view"
            | "filesystem"
            | "byte"
            | "apply"
            | "make_from_tuple"
            | "invoke"
            | "void_t"
            | "bool_constant"
            | "logical_traits"
            | "type_trait_variable_templates"
            | "clamp"
            | "sample"
            | "gcd_lcm"
            | "hypot"
            | "shared_mutex"
            | "scoped_lock"
            | "shared_timed_mutex"
            | "memory_resource"
            | "parallel_algorithm"
            | "execution"
            | "launder"
            | "addressof_constexpr"
            | "as_const"
            | "array_constexpr"
            | "uncaught_exceptions"
            | "nonmember_container_access"
            | "node_extract"
            | "map_try_emplace"
            | "not_fn"
            | "unordered_map_try_emplace"
            | "is_aggregate"
            | "is_invocable"
            | "is_swappable"
            | "to_chars"
            | "chrono"
            | "integer_sequence"
            | "exchange_function"
            | "make_unique"
            | "make_reverse_iterator"
            | "is_final"
            | "is_null_pointer"
            | "integral_constant_callable"
            | "transformation_trait_aliases"
            | "tuples_by_type"
            | "tuple_element_t"
            | "transparent_operators"
            | "quoted_string_io"
            | "generic_associative_lookup"
            | "result_of_sfinae"
            | "robust_nonmodifying_seq_ops"
            | "enable_shared_from_this"
            | "math_special_functions"
            | "hardware_interference_size"
            | "has_unique_object_representations"
            | "atomic_is_always_lock_free"
            | "chrono_udls"
            | "complex_udls"
            | "string_udls"
            | "shared_ptr_arrays"
            | "raw_memory_algorithms"
    )
}

/// What a compiler's function-like macro gives.
pub(crate) fn function(name: &str, argument: &str) -> Option<i64> {
    let argument = argument.trim();
    match name {
        "__has_cpp_attribute" => match argument {
            "nodiscard" | "maybe_unused" | "fallthrough" | "deprecated" | "noreturn"
            | "carries_dependency" => Some(201_907),
            "likely" | "unlikely" => Some(201_803),
            _ => Some(i64::from(argument.starts_with("clang::") || argument.starts_with("gnu::"))),
        },
        "__has_feature" | "__has_extension" => Some(i64::from(
            !argument.contains("sanitizer")
                && !argument.starts_with("objc")
                && argument != "modules",
        )),
        "__has_attribute" | "__has_builtin" => Some(1),
        "__has_warning" | "__has_declspec_attribute" => Some(0),
        _ => None,
    }
}

/// Whether the system has a header; `None` if it may be that of some library.
pub(crate) fn has_header(path: &str) -> Option<bool> {
    let posix = ["sys/", "arpa/", "netinet/", "net/", "linux/"]
        .iter()
        .any(|folder| path.starts_with(folder));
    match path {
        "any"
        | "charconv"
        | "execution"
        | "filesystem"
        | "memory_resource"
        | "optional"
        | "string_view"
        | "variant"
        | "version"
        | "cxxabi.h"
        | "unistd.h"
        | "pthread.h"
        | "dlfcn.h"
        | "fcntl.h"
        | "execinfo.h"
        | "endian.h"
        | "byteswap.h"
        | "stdint.h"
        | "inttypes.h"
        | "features.h"
        | "x86intrin.h"
        | "immintrin.h"
        | "strings.h"
        | "experimental/filesystem"
        | "experimental/string_view"
        | "experimental/optional" => Some(true),
        // C++20 and later.
        "span" | "ranges" | "concepts" | "compare" | "format" | "source_location" | "bit"
        | "coroutine" | "latch" | "numbers" | "semaphore" | "barrier" | "stop_token"
        | "syncstream" | "expected" | "print" | "generator" | "mdspan" | "stacktrace"
        | "stdfloat" | "flat_map" | "spanstream" => Some(true),
        _ if path.contains("windows") || path.starts_with("Windows") || path.contains("mach") => {
            Some(false)
        }
        _ if posix => Some(true),
        _ if !path.contains(['.', '/']) => Some(true),
        _ => None,
    }
}

/// Names that a build on a POSIX system likely defines.
pub(crate) fn is_guess(name: &str) -> bool {
    let guard = name.ends_with("_H")
        || name.ends_with("_H_")
        || name.ends_with("_HPP")
        || name.ends_with("INCLUDED");
    !guard && (name.starts_with("HAVE_") || name.contains("POSIX") || name.contains("LINUX"))
}
