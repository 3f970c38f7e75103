//! Classes and enumerations, and where their names stand among attributes and export macros.

use super::super::lexer::Kind;
use super::super::macros::Role;
use super::super::source::is_capitals;
use super::{Open, Writer};

impl Writer<'_> {
    pub(super) fn enumeration(&mut self, at: usize) -> usize {
        self.copy(at);
        let mut i = at + 1;
        while i < self.source.len() {
            let past = self.source.past_attribute(i);
            if past > i {
                i = past;
                continue;
            }
            match self.kind(i) {
                // A macro for the underlying type, or an attribute.
                Kind::Ident if self.kind(i + 1) == Kind::LParen => i = self.source.past(i + 1),
                Kind::Class | Kind::Ident | Kind::ColonColon => {
                    self.copy(i);
                    i += 1;
                }
                Kind::Colon => {
                    while !matches!(self.kind(i), Kind::LBrace | Kind::Semi)
                        && i < self.source.len()
                    {
                        i += 1;
                    }
                }
                Kind::LBrace => {
                    let past = self.source.past(i);
                    self.put(i, "{");
                    self.put(past - 1, "}");
                    return past;
                }
                _ => return i,
            }
        }
        i
    }

    /// A class with its members (`Ok`: past its opening brace), or a mere mention of one (`Err`: past it).
    pub(super) fn class(&mut self, at: usize) -> Result<usize, usize> {
        let name = self.class_name(at + 1);
        let mut i = name;
        let mut last = "";
        while matches!(self.kind(i), Kind::Ident | Kind::ColonColon) {
            if self.kind(i) == Kind::Ident {
                if i > name && self.kind(i - 1) != Kind::ColonColon {
                    break;
                }
                last = self.source.text(i);
            }
            i += 1;
            if self.kind(i) == Kind::Lt {
                i = self.source.past_angles(i, self.source.len()).unwrap_or(i + 1);
            }
        }
        let bases = i + usize::from(self.kind(i) == Kind::Final);
        let defines = matches!(self.kind(bases), Kind::Colon | Kind::LBrace)
            && self.kind(bases + 1) != Kind::Colon;
        self.copy(at);
        for token in name..i {
            if matches!(self.kind(token), Kind::Ident | Kind::ColonColon)
                && !self.inside_angles(name, token)
            {
                self.copy(token);
            }
        }
        if !defines {
            return Err(bases);
        }
        let mut i = bases;
        while i < self.source.len() && self.kind(i) != Kind::LBrace {
            match self.kind(i) {
                Kind::Lt => i = self.source.past_angles(i, self.source.len()).unwrap_or(i + 1),
                Kind::Semi | Kind::RBrace => return Err(i),
                Kind::Decltype => i = self.source.past(i + 1),
                Kind::Ident | Kind::ColonColon | Kind::Comma | Kind::Colon | Kind::Access => {
                    self.copy(i);
                    i += 1;
                }
                _ => i = self.source.past(i),
            }
        }
        self.copy(i);
        self.open.push(Open::Class(last));
        Ok(i + 1)
    }

    pub(super) fn inside_angles(&self, start: usize, at: usize) -> bool {
        let mut i = start;
        while i < at {
            if self.kind(i) == Kind::Lt {
                let past = self.source.past_angles(i, self.source.len()).unwrap_or(i + 1);
                if at < past {
                    return true;
                }
                i = past;
            } else {
                i += 1;
            }
        }
        false
    }

    /// Where the class's name begins, past attributes and export macros.
    pub(super) fn class_name(&self, mut at: usize) -> usize {
        loop {
            let past = self.source.past_attribute(at);
            if past > at {
                at = past;
                continue;
            }
            if self.kind(at) != Kind::Ident {
                return at;
            }
            let decoration =
                self.macros.get(self.source.text(at)).is_some_and(|m| m.role == Role::Decoration);
            match self.kind(at + 1) {
                Kind::LParen => at = self.source.past(at + 1),
                _ if decoration => at += 1,
                Kind::Ident => {
                    let mut i = at + 2;
                    while matches!(self.kind(i), Kind::ColonColon | Kind::Ident) {
                        i += 1;
                    }
                    if self.kind(i) == Kind::Lt {
                        i = self.source.past_angles(i, self.source.len()).unwrap_or(i);
                    }
                    let export = matches!(self.kind(i), Kind::LBrace | Kind::Colon | Kind::Final)
                        || (self.kind(i) == Kind::Semi && is_capitals(self.source.text(at)));
                    if !export {
                        return at;
                    }
                    at += 1;
                }
                _ => return at,
            }
        }
    }

    pub(super) fn begins_local_class(&self, at: usize) -> bool {
        matches!(
            self.kind(at - 1),
            Kind::LBrace | Kind::RBrace | Kind::Semi | Kind::Colon | Kind::Typedef
        ) && self.kind(at + 1) == Kind::Ident
            && matches!(self.kind(at + 2), Kind::LBrace | Kind::Colon | Kind::Final)
    }

    pub(super) fn local_class(&mut self, at: usize) -> usize {
        let outer = self.open.len();
        let mut i = self.declaration(at);
        while self.open.len() > outer && i < self.source.len() {
            if self.open.len() == outer + 1 && self.kind(i) == Kind::RBrace {
                self.open.pop();
                self.copy(i);
                self.out.text.push_str("; ");
                return i + 1;
            }
            i = self.statement(i).max(i + 1);
        }
        i
    }
}
