//! Definitions and declarations of one function whose parameters are spelled differently: `const std::string&` here,
//! an alias of it there.

use super::symbols::{Function, Symbols};
use super::types::{Base, Type};

/// Gives declarations without a body the definition that must be theirs.
pub(crate) fn link(symbols: &mut Symbols) {
    let mut keys: Vec<_> = symbols
        .members
        .iter()
        .filter(|(_, entries)| entries.len() > 1)
        .map(|(key, _)| *key)
        .collect();
    keys.sort_unstable();
    for key in keys {
        let functions: Vec<u32> = super::calls::functions(symbols.entries(key.0, key.1));
        let (defined, declared): (Vec<u32>, Vec<u32>) =
            functions.into_iter().partition(|&id| !symbols.function(id).definitions.is_empty());
        for declaration in declared {
            let wanted = symbols.function(declaration);
            let fitting = defined.iter().copied().find(|&id| {
                let candidate = symbols.function(id);
                let undeclared = candidate.declarations.len() == candidate.definitions.len();
                undeclared && same_parameters(wanted, candidate)
            });
            let Some(definition) = fitting else { continue };
            let definitions = symbols.function(definition).definitions.clone();
            for &(file, number) in &definitions {
                symbols.function_of[file as usize][number as usize] = declaration;
            }
            symbols.functions[declaration as usize].definitions = definitions;
            let entries = symbols.members.entry(key).or_default();
            entries.retain(|entry| entry.entity != super::symbols::Entity::Function(definition));
        }
    }
}

fn same_parameters(left: &Function, right: &Function) -> bool {
    left.parameters.len() == right.parameters.len()
        && left.constant == right.constant
        && left.local_to == right.local_to
        && left.template.len() == right.template.len()
        && left.shape.is_some() == right.shape.is_some()
        && left
            .parameters
            .iter()
            .zip(&right.parameters)
            .all(|(left, right)| may_equal(&left.ty, &right.ty))
}

fn may_equal(left: &Type, right: &Type) -> bool {
    let open = |ty: &Type| {
        matches!(ty.base, Base::Unknown | Base::Foreign(_) | Base::Dependent | Base::Parameter(_))
    };
    if open(left) || open(right) {
        return true;
    }
    left.pointer == right.pointer && left.base == right.base
}
