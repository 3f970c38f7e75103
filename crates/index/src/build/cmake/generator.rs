//! Generator expressions, `$<...>`, as far as they choose flags.

use super::condition::{compare_versions, is_false};

/// Expressions within expressions.
const MAX_DEPTH: usize = 32;

/// `text` with its generator expressions replaced by what they give when a Linux compiler builds the project.
pub(super) fn evaluate(text: &str) -> String {
    nested(text, 0)
}

fn nested(text: &str, depth: usize) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("$<") {
        result.push_str(&rest[..start]);
        let Some(end) = closing(&rest[start + 2..]) else {
            return result;
        };
        if depth < MAX_DEPTH {
            result.push_str(&expression(&rest[start + 2..start + 2 + end], depth + 1));
        }
        rest = &rest[start + 2 + end + 1..];
    }
    result + rest
}

/// Where the `>` stands that belongs to a `$<` before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'>' if depth == 0 => return Some(at),
            b'>' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn expression(text: &str, depth: usize) -> String {
    let colon = top_level_colon(text);
    let (name, value) = colon.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
    let name = nested(name, depth);
    let value = || nested(value, depth);
    let truth = |truth: bool| if truth { "1".to_string() } else { "0".to_string() };
    let parts = || value().split(',').map(ToString::to_string).collect::<Vec<_>>();
    match name.as_str() {
        "1" | "BUILD_INTERFACE" | "BUILD_LOCAL_INTERFACE" | "LINK_ONLY" => value(),
        "BOOL" => truth(!is_false(&value())),
        "NOT" => truth(value() == "0"),
        "AND" => truth(parts().iter().all(|part| part == "1")),
        "OR" => truth(parts().iter().any(|part| part == "1")),
        "IF" => {
            let parts = parts();
            let chosen = if parts.first().is_some_and(|part| part == "1") { 1 } else { 2 };
            parts.get(chosen).cloned().unwrap_or_default()
        }
        "STREQUAL" | "EQUAL" => truth(matches!(parts().as_slice(), [a, b] if a == b)),
        "VERSION_GREATER" => {
            truth(matches!(parts().as_slice(), [a, b] if compare_versions(a, b).is_gt()))
        }
        "VERSION_LESS" => {
            truth(matches!(parts().as_slice(), [a, b] if compare_versions(a, b).is_lt()))
        }
        // As where no build type is asked for: neither what only debugging builds have nor what only releases have.
        "CONFIG" => truth(value().is_empty()),
        "PLATFORM_ID" => truth(parts().iter().any(|part| part == "Linux")),
        "CXX_COMPILER_ID" | "C_COMPILER_ID" => truth(parts().iter().any(|part| part == "GNU")),
        "COMPILE_LANGUAGE" => truth(parts().iter().any(|part| part == "CXX" || part == "C")),
        "COMPILE_LANG_AND_ID" => truth(parts().iter().any(|part| part == "GNU")),
        "SEMICOLON" => ";".to_string(),
        "COMMA" => ",".to_string(),
        _ => String::new(),
    }
}

/// The first colon outside inner expressions.
fn top_level_colon(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'>' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn chooses() {
        assert_eq!(evaluate("a$<BUILD_INTERFACE:/x>b$<INSTALL_INTERFACE:include>"), "a/xb");
        assert_eq!(evaluate("$<$<BOOL:ON>:A=1>$<$<BOOL:OFF>:B=1>"), "A=1");
        assert_eq!(
            evaluate("$<$<AND:$<CXX_COMPILER_ID:GNU>,$<NOT:$<CONFIG:Release>>>:yes>"),
            "yes"
        );
        assert_eq!(evaluate("$<$<PLATFORM_ID:Windows>:no>$<TARGET_FILE:x>"), "");
        assert_eq!(evaluate("$<IF:$<CONFIG:Debug>,d,r>"), "r");
        assert_eq!(evaluate("$<$<VERSION_GREATER:3.25,3.2>:PUBLIC>"), "PUBLIC");
    }

    #[test]
    fn ends_in_broken_text() {
        for text in ["$<", "$<A", "$<$<$<", "$<>", "$<:>", ">$<1:>>"] {
            evaluate(text);
        }
        evaluate(&"$<1:".repeat(5000));
        evaluate(&("$<1:".repeat(5000) + &">".repeat(5000)));
    }
}
