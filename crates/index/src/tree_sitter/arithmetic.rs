//! Arithmetic types, as 64-bit Linux has them: overloads on them are told apart.

use super::types::{Base, Type};

/// Integer types other than `bool` and `char`, in the order of their ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Integer {
    SignedChar,
    UnsignedChar,
    Short,
    UnsignedShort,
    /// `wchar_t` and the other wide characters.
    Wide,
    Int,
    Unsigned,
    Long,
    UnsignedLong,
    LongLong,
    UnsignedLongLong,
}

/// Floating-point types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Float {
    Single,
    Double,
    LongDouble,
}

impl Base {
    pub(crate) const INT: Self = Self::Integer(Integer::Int);
    /// `size_t`.
    pub(crate) const SIZE: Self = Self::Integer(Integer::UnsignedLong);

    pub(crate) fn is_arithmetic(&self) -> bool {
        matches!(self, Self::Bool | Self::Char | Self::Integer(_) | Self::Float(_))
    }

    /// What it becomes before arithmetic.
    pub(crate) fn promoted(&self) -> Self {
        match self {
            Self::Bool | Self::Char | Self::Enum(_) => Self::INT,
            Self::Integer(integer) => Self::Integer((*integer).max(Integer::Int)),
            other => other.clone(),
        }
    }

    /// The common type of two operands.
    pub(crate) fn common(&self, other: &Self) -> Self {
        match (self.promoted(), other.promoted()) {
            (Self::Float(left), Self::Float(right)) => Self::Float(left.max(right)),
            (Self::Float(float), _) | (_, Self::Float(float)) => Self::Float(float),
            (Self::Integer(left), Self::Integer(right)) => Self::Integer(left.max(right)),
            (Self::Unknown | Self::Auto | Self::Foreign(_), _)
            | (_, Self::Unknown | Self::Auto | Self::Foreign(_)) => Self::Unknown,
            _ => Self::INT,
        }
    }

    /// What converting one arithmetic type to another costs, by the standard's ranks.
    pub(crate) fn arithmetic_conversion(&self, to: &Self) -> u32 {
        let promotes = match (self, to) {
            (Self::Float(Float::Single), Self::Float(Float::Double)) => true,
            (Self::Float(_), _) => false,
            (_, Self::Integer(_)) => self.promoted() == *to,
            _ => false,
        };
        match to {
            _ if promotes => 1,
            Self::Integer(_) if !matches!(self, Self::Float(_)) => 2,
            _ => 3,
        }
    }
}

/// The type of a number as it is written.
pub(crate) fn literal(text: &str) -> Type {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let float =
        if hexadecimal { text.contains(['p', 'P']) } else { text.contains(['.', 'e', 'E']) };
    let digit = |c: char| c.is_ascii_digit() || (hexadecimal && c.is_ascii_hexdigit()) || c == '\'';
    if float {
        let base = match text.as_bytes().last() {
            Some(b'f' | b'F') => Float::Single,
            Some(b'l' | b'L') => Float::LongDouble,
            _ => Float::Double,
        };
        return Type::of(Base::Float(base));
    }
    let digits = text.trim_start_matches("0x").trim_start_matches("0X");
    let suffix = digits.trim_start_matches(digit).to_ascii_lowercase();
    let number = &digits[..digits.len() - suffix.len()];
    let radix = if hexadecimal { 16 } else { 10 };
    let value = u64::from_str_radix(&number.replace('\'', ""), radix).unwrap_or(0);
    Type::of(Base::Integer(match suffix.as_str() {
        "ull" | "llu" => Integer::UnsignedLongLong,
        "ll" => Integer::LongLong,
        "ul" | "lu" | "uz" | "zu" => Integer::UnsignedLong,
        "l" | "z" => Integer::Long,
        "u" if value > u64::from(u32::MAX) => Integer::UnsignedLong,
        "u" => Integer::Unsigned,
        _ if value <= 0x7fff_ffff => Integer::Int,
        _ if hexadecimal && value <= u64::from(u32::MAX) => Integer::Unsigned,
        _ if value > i64::MAX as u64 => Integer::UnsignedLong,
        _ => Integer::Long,
    }))
}

/// The type that the words of a builtin type name; `None` for what is no arithmetic type.
pub(crate) fn of_words<'w>(words: impl Iterator<Item = &'w str>) -> Base {
    let (mut unsigned, mut signed, mut long, mut short) = (false, false, 0, false);
    let mut base = Base::INT;
    for word in words {
        match word {
            "void" => base = Base::Void,
            "bool" | "_Bool" => base = Base::Bool,
            "char" | "char8_t" => base = Base::Char,
            "wchar_t" | "char16_t" | "char32_t" => base = Base::Integer(Integer::Wide),
            "float" => base = Base::Float(Float::Single),
            "double" => base = Base::Float(Float::Double),
            "__uint128_t" => base = Base::Integer(Integer::UnsignedLongLong),
            "__int128" | "__int128_t" => base = Base::Integer(Integer::LongLong),
            "unsigned" => unsigned = true,
            "signed" => signed = true,
            "long" => long += 1,
            "short" => short = true,
            _ => {}
        }
    }
    match base {
        Base::Char if unsigned => Base::Integer(Integer::UnsignedChar),
        Base::Char if signed => Base::Integer(Integer::SignedChar),
        Base::Float(_) if long > 0 => Base::Float(Float::LongDouble),
        Base::Integer(Integer::Int) => Base::Integer(match (short, long, unsigned) {
            (true, _, false) => Integer::Short,
            (true, _, true) => Integer::UnsignedShort,
            (_, 0, false) => Integer::Int,
            (_, 0, true) => Integer::Unsigned,
            (_, 1, false) => Integer::Long,
            (_, 1, true) => Integer::UnsignedLong,
            (_, _, false) => Integer::LongLong,
            (_, _, true) => Integer::UnsignedLongLong,
        }),
        Base::Integer(_) if unsigned => Base::Integer(Integer::UnsignedLongLong),
        other => other,
    }
}

/// The integer types that C's headers name.
pub(crate) fn named(text: &str) -> Option<Base> {
    Some(Base::Integer(match text {
        "int8_t" | "int_least8_t" => Integer::SignedChar,
        "uint8_t" | "uint_least8_t" | "uchar" | "u_char" => Integer::UnsignedChar,
        "int16_t" | "int_least16_t" => Integer::Short,
        "uint16_t" | "uint_least16_t" | "ushort" | "u_short" | "in_port_t" => {
            Integer::UnsignedShort
        }
        "int32_t" | "pid_t" | "int_least32_t" | "wint_t" => Integer::Int,
        "uint32_t" | "uint" | "mode_t" | "uid_t" | "gid_t" | "uint_least32_t" | "u_int"
        | "socklen_t" => Integer::Unsigned,
        "ssize_t" | "ptrdiff_t" | "intptr_t" | "off_t" | "time_t" | "int64_t" | "streamsize"
        | "streamoff" | "intmax_t" | "clock_t" | "int_least64_t" | "int_fast64_t"
        | "int_fast32_t" | "int_fast16_t" => Integer::Long,
        "size_t" | "uintptr_t" | "uint64_t" | "ulong" | "uintmax_t" | "u_long" | "ino_t"
        | "dev_t" | "uint_least64_t" | "uint_fast64_t" | "uint_fast32_t" => Integer::UnsignedLong,
        "byte" => Integer::UnsignedChar,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_have_the_types_of_their_suffixes_and_sizes() {
        let integer = |text: &str| literal(text).base;
        assert_eq!(integer("1"), Base::INT);
        assert_eq!(integer("0xFFFFFFFF"), Base::Integer(Integer::Unsigned));
        assert_eq!(integer("4'000'000'000"), Base::Integer(Integer::Long));
        assert_eq!(integer("1uLL"), Base::Integer(Integer::UnsignedLongLong));
        assert_eq!(integer("1.5f"), Base::Float(Float::Single));
        assert_eq!(integer("1e5"), Base::Float(Float::Double));
        assert_eq!(integer("0x1f"), Base::INT);
    }

    #[test]
    fn words_name_arithmetic_types() {
        let named = |text: &str| of_words(text.split(' '));
        assert_eq!(named("unsigned long int"), Base::SIZE);
        assert_eq!(named("long long"), Base::Integer(Integer::LongLong));
        assert_eq!(named("unsigned char"), Base::Integer(Integer::UnsignedChar));
        assert_eq!(named("long double"), Base::Float(Float::LongDouble));
        assert_eq!(named("unsigned"), Base::Integer(Integer::Unsigned));
    }
}
