//! What calls need to know of the standard library: what its containers, pointers and strings hold and return.

use super::arithmetic::{self, Float, Integer};
use super::types::{Base, Reference, Type};

/// Classes whose behaviour is known.
const CLASSES: [&str; 36] = [
    "string",
    "string_view",
    "vector",
    "deque",
    "list",
    "forward_list",
    "array",
    "set",
    "multiset",
    "unordered_set",
    "unordered_multiset",
    "map",
    "multimap",
    "unordered_map",
    "unordered_multimap",
    "pair",
    "tuple",
    "optional",
    "unique_ptr",
    "shared_ptr",
    "weak_ptr",
    "function",
    "atomic",
    "iterator",
    "initializer_list",
    "span",
    "stack",
    "queue",
    "priority_queue",
    "reference_wrapper",
    "mutex",
    "thread",
    "ostream",
    "istream",
    "future",
    "variant",
];

/// The type of the name `text` in `std`, or of a C type of that name.
pub(crate) fn named(text: &str, arguments: Vec<Type>) -> Type {
    if let Some(base) = arithmetic::named(text) {
        return Type::of(base);
    }
    match text {
        "nullptr_t" => Type::of(Base::Null),
        "remove_reference_t" | "decay_t" | "remove_cv_t" | "remove_const_t" | "remove_cvref_t"
        | "type_identity_t" => {
            arguments.into_iter().next().unwrap_or(Type::UNKNOWN).without_reference()
        }
        "enable_if_t" => arguments.into_iter().nth(1).unwrap_or(Type::of(Base::Void)),
        "ostringstream" | "stringstream" | "ofstream" | "fstream" | "iostream" => {
            Type::standard("ostream", Vec::new())
        }
        "istringstream" | "ifstream" => Type::standard("istream", Vec::new()),
        // Of wide characters nothing is known.
        "basic_ostream" | "basic_istream" | "basic_iostream" if !holds_char(&arguments) => {
            Type::UNKNOWN
        }
        "basic_ostream" | "basic_iostream" => Type::standard("ostream", Vec::new()),
        "basic_istream" => Type::standard("istream", Vec::new()),
        "basic_string" | "wstring" => Type::standard("string", Vec::new()),
        _ => match CLASSES.iter().find(|name| **name == text) {
            Some(name) => Type::standard(name, arguments),
            None => Type::UNKNOWN,
        },
    }
}

fn holds_char(arguments: &[Type]) -> bool {
    arguments.first().is_some_and(|first| first.base == Base::Char)
}

/// The type of a variable of `std`.
pub(crate) fn variable(text: &str) -> Type {
    match text {
        "cout" | "cerr" | "clog" => Type::standard("ostream", Vec::new()),
        "cin" => Type::standard("istream", Vec::new()),
        _ => Type::UNKNOWN,
    }
}

/// What a container's iterators and subscripts give.
pub(crate) fn element(container: &Type) -> Type {
    let Base::Standard(name, _) = container.base else {
        return Type::UNKNOWN;
    };
    match name {
        "vector" | "deque" | "list" | "forward_list" | "array" | "set" | "multiset"
        | "unordered_set" | "iterator" | "unordered_multiset" | "initializer_list" | "span"
        | "stack" | "queue" | "priority_queue" => container.argument(0),
        "map" | "multimap" | "unordered_map" | "unordered_multimap" => {
            Type::standard("pair", vec![container.argument(0), container.argument(1)])
        }
        "string" | "string_view" => Type::of(Base::Char),
        _ => Type::UNKNOWN,
    }
}

/// What `*` and `->` give: the element of an iterator, what a smart pointer points to.
pub(crate) fn pointee(pointer: &Type) -> Type {
    match pointer.base {
        Base::Standard(
            "iterator" | "reverse_iterator" | "unique_ptr" | "shared_ptr" | "optional",
            _,
        ) => pointer.argument(0),
        _ => Type::UNKNOWN,
    }
}

/// What `[...]` gives.
pub(crate) fn subscript(container: &Type) -> Type {
    match container.base {
        Base::Standard("map" | "unordered_map", _) => container.argument(1),
        Base::Standard("unique_ptr" | "shared_ptr", _) => container.argument(0),
        _ => element(container),
    }
}

/// A type that a class of the standard library names.
pub(crate) fn member_type(class: &Type, text: &str) -> Type {
    match text {
        "iterator" | "const_iterator" => Type::standard("iterator", vec![element(class)]),
        "reverse_iterator" | "const_reverse_iterator" => {
            Type::standard("reverse_iterator", vec![element(class)])
        }
        "value_type" => element(class),
        "reference" | "const_reference" => Type { reference: Reference::Left, ..element(class) },
        "pointer" => element(class).pointer_to(),
        "key_type" => class.argument(0),
        "mapped_type" => class.argument(1),
        "element_type" => class.argument(0),
        "size_type" => Type::of(Base::SIZE),
        "difference_type" => Type::of(Base::Integer(Integer::Long)),
        _ => Type::UNKNOWN,
    }
}

/// What a member function returns, or the type of a data member.
pub(crate) fn member(class: &Type, text: &str) -> Type {
    let reference = |ty: Type| Type { reference: Reference::Left, ..ty };
    match text {
        "size" | "length" | "capacity" | "count" | "max_size" | "find_first_of"
        | "find_last_of" | "rfind" | "bucket_count" | "use_count" | "find_first_not_of" => {
            Type::of(Base::SIZE)
        }
        "empty" | "has_value" | "starts_with" | "ends_with" | "joinable" | "contains" => {
            Type::of(Base::Bool)
        }
        "compare" => Type::of(Base::INT),
        "c_str" => Type { constant: true, ..Type::of(Base::Char).pointer_to() },
        "data" => element(class).pointer_to(),
        "first" => reference(class.argument(0)),
        "second" => reference(class.argument(1)),
        "find" if matches!(class.base, Base::Standard("string" | "string_view", _)) => {
            Type::of(Base::SIZE)
        }
        "rbegin" | "rend" | "crbegin" | "crend" => {
            Type::standard("reverse_iterator", vec![element(class)])
        }
        "begin" | "end" | "cbegin" | "cend" | "find" | "lower_bound" | "upper_bound" | "erase"
        | "insert" | "emplace_hint" => Type::standard("iterator", vec![element(class)]),
        "front" | "back" | "top" | "emplace_back" => reference(element(class)),
        "at" => reference(subscript(class)),
        "substr" | "str" => Type::standard("string", Vec::new()),
        "append" | "assign" | "replace" => reference(class.clone()),
        "get" | "release" | "load"
            if matches!(class.base, Base::Standard("unique_ptr" | "shared_ptr", _)) =>
        {
            class.argument(0).pointer_to()
        }
        "get" | "load" | "exchange" | "value" | "value_or" => class.argument(0),
        "lock" => Type::standard("shared_ptr", vec![class.argument(0)]),
        "equal_range" => {
            let iterator = Type::standard("iterator", vec![element(class)]);
            Type::standard("pair", vec![iterator.clone(), iterator])
        }
        _ => Type::UNKNOWN,
    }
}

/// The types that a member function's arguments are converted to.
pub(crate) fn accepts(class: &Type, text: &str) -> Type {
    let Base::Standard(name, _) = class.base else {
        return Type::UNKNOWN;
    };
    match (name, text) {
        (
            "vector" | "deque" | "list" | "set" | "multiset" | "unordered_set" | "queue" | "stack"
            | "priority_queue",
            "push_back" | "push_front" | "push" | "insert",
        ) => Type { reference: Reference::Left, constant: true, ..class.argument(0) },
        (
            "map" | "unordered_map" | "multimap" | "set" | "unordered_set" | "multiset",
            "find" | "count" | "erase" | "at" | "lower_bound" | "upper_bound" | "contains",
        ) => Type { reference: Reference::Left, constant: true, ..class.argument(0) },
        _ => Type::UNKNOWN,
    }
}

/// What a function of `std` returns, given its template arguments and its arguments' types.
pub(crate) fn function(text: &str, template: &[Type], arguments: &[Type]) -> Type {
    let first = || arguments.first().cloned().unwrap_or(Type::UNKNOWN).without_reference();
    match text {
        "move" | "forward" => Type { reference: Reference::Right, ..first() },
        "min" | "max" | "exchange" | "ref" | "cref" | "next" | "prev" | "clamp" => first(),
        "make_unique" => Type::standard("unique_ptr", template.get(..1).unwrap_or(&[]).to_vec()),
        "make_shared" | "static_pointer_cast" | "dynamic_pointer_cast" => {
            Type::standard("shared_ptr", template.get(..1).unwrap_or(&[]).to_vec())
        }
        "make_pair" => Type::standard(
            "pair",
            arguments.iter().map(|ty| ty.clone().without_reference()).collect(),
        ),
        "to_string" => Type::standard("string", Vec::new()),
        "find" | "find_if" | "lower_bound" | "upper_bound" | "remove_if" | "unique" | "begin"
        | "end"
            if matches!(first().base, Base::Standard("iterator", _)) =>
        {
            first()
        }
        "begin" | "end" => Type::standard("iterator", vec![element(&first())]),
        "strerror" | "getenv" | "strchr" | "strrchr" | "strstr" | "strdup" | "strncpy"
        | "strcpy" | "strtok" => Type::of(Base::Char).pointer_to(),
        "malloc" | "calloc" | "realloc" | "memcpy" | "memmove" | "memset" | "memchr" => {
            Type::of(Base::Void).pointer_to()
        }
        "strlen" | "stoul" | "fread" | "fwrite" | "strtoul" | "wcslen" | "size" => {
            Type::of(Base::SIZE)
        }
        "distance" | "stol" | "atol" | "strtol" | "ftell" | "labs" | "count" | "count_if" => {
            Type::of(Base::Integer(Integer::Long))
        }
        "stoull" | "strtoull" => Type::of(Base::Integer(Integer::UnsignedLongLong)),
        "stoll" | "strtoll" | "atoll" => Type::of(Base::Integer(Integer::LongLong)),
        "stod" | "strtod" | "atof" | "floor" | "ceil" | "pow" | "sqrt" | "fabs" | "log" | "exp" => {
            Type::of(Base::Float(Float::Double))
        }
        "abs" => first(),
        "isnan" | "isinf" | "isfinite" | "equal" | "any_of" | "all_of" | "none_of"
        | "binary_search" | "is_sorted" => Type::of(Base::Bool),
        "memcmp" | "strcmp" | "strncmp" | "stoi" | "snprintf" | "printf" | "fprintf" | "fclose"
        | "atoi" | "sprintf" | "tolower" | "toupper" | "isdigit" | "isspace" | "isalpha"
        | "isalnum" => Type::of(Base::INT),
        _ => Type::UNKNOWN,
    }
}
