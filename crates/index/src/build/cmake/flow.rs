//! Control flow: blocks, loops, functions; and which command does what.

use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use super::condition::{self, Word};
use super::evaluate::{Function, MAX_DEPTH, State, split_list};
use super::syntax::{Argument, ArgumentKind, Command};

/// What comes after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Return,
    Break,
    Continue,
    /// Something required is missing: what an option around here switches on cannot be built on this machine.
    GiveUp,
}

impl State<'_> {
    /// Runs commands one after another.
    pub(super) fn run(&mut self, all: &Rc<[Command]>) -> Flow {
        self.run_range(all, 0..all.len())
    }

    fn run_range(&mut self, all: &Rc<[Command]>, range: Range<usize>) -> Flow {
        let mut at = range.start;
        while at < range.end && self.may_step() {
            let command = &all[at];
            let end = block_end(all, at, range.end);
            let flow = match command.name.as_str() {
                "if" => self.run_if(all, at, end),
                "foreach" => self.run_foreach(all, at, end),
                "function" | "macro" => {
                    self.define(all, at, end);
                    Flow::Next
                }
                // What a loop computes is rarely flags, and it may never end.
                "while" => Flow::Next,
                "return" => Flow::Return,
                "break" => Flow::Break,
                "continue" => Flow::Continue,
                _ => self.command(command),
            };
            if flow != Flow::Next {
                return flow;
            }
            at = end.max(at) + 1;
        }
        Flow::Next
    }

    fn run_if(&mut self, all: &Rc<[Command]>, start: usize, end: usize) -> Flow {
        let mut branch = start;
        while branch < end {
            let next = next_branch(all, branch, end);
            let command = &all[branch];
            if command.name == "else" || condition::holds(&self.words(&command.arguments), self) {
                let option = self.option_of(command);
                self.option_blocks += usize::from(option.is_some());
                let flow = self.within(|state| state.run_range(all, branch + 1..next));
                let Some(option) = option else {
                    return flow;
                };
                self.option_blocks -= 1;
                if flow == Flow::GiveUp {
                    self.set_global(&option, "OFF");
                    self.set(&option, "OFF");
                    return Flow::Next;
                }
                return flow;
            }
            branch = next;
        }
        Flow::Next
    }

    /// The option that the condition asks for.
    fn option_of(&self, command: &Command) -> Option<String> {
        let first = command.arguments.first()?;
        (command.name != "else" && self.options.contains(&first.text)).then(|| first.text.clone())
    }

    fn within(&mut self, work: impl FnOnce(&mut Self) -> Flow) -> Flow {
        if self.depth >= MAX_DEPTH {
            return Flow::Next;
        }
        self.depth += 1;
        let flow = work(self);
        self.depth -= 1;
        flow
    }

    fn words(&self, arguments: &[Argument]) -> Vec<Word> {
        let mut words = Vec::new();
        for argument in arguments {
            let text = self.expand_one(argument);
            match argument.kind {
                ArgumentKind::Plain => {
                    words.extend(
                        split_list(&text).into_iter().map(|text| Word { text, quoted: false }),
                    );
                }
                _ => words.push(Word { text, quoted: true }),
            }
        }
        words
    }

    fn run_foreach(&mut self, all: &Rc<[Command]>, start: usize, end: usize) -> Flow {
        let arguments = self.expand(&all[start].arguments);
        let Some((name, items)) = arguments.split_first() else {
            return Flow::Next;
        };
        for item in self.loop_items(items) {
            self.set(name, &item);
            match self.within(|state| state.run_range(all, start + 1..end)) {
                Flow::Next | Flow::Continue => {}
                Flow::Break => break,
                flow => return flow,
            }
        }
        Flow::Next
    }

    fn loop_items(&self, items: &[String]) -> Vec<String> {
        match items.first().map(String::as_str) {
            Some("RANGE") => {
                let numbers: Vec<i64> =
                    items[1..].iter().filter_map(|item| item.parse().ok()).collect();
                let (first, last) = match numbers[..] {
                    [last] => (0, last),
                    [first, last, ..] => (first, last),
                    [] => return Vec::new(),
                };
                (first..=last).take(1000).map(|number| number.to_string()).collect()
            }
            Some("IN") => {
                let mut all = Vec::new();
                let mut lists = false;
                for item in &items[1..] {
                    match item.as_str() {
                        "LISTS" => lists = true,
                        "ITEMS" => lists = false,
                        name if lists => all.extend(split_list(&self.get(name))),
                        item => all.push(item.to_string()),
                    }
                }
                all
            }
            _ => items.to_vec(),
        }
    }

    fn define(&mut self, all: &Rc<[Command]>, start: usize, end: usize) {
        let arguments = self.expand(&all[start].arguments);
        if let Some((name, parameters)) = arguments.split_first() {
            let function = Function {
                parameters: parameters.to_vec(),
                body: all[(start + 1).min(end)..end].to_vec().into(),
                is_macro: all[start].name == "macro",
            };
            self.functions.insert(name.to_ascii_lowercase(), function);
        }
    }

    fn command(&mut self, command: &Command) -> Flow {
        let arguments = self.expand(&command.arguments);
        if let Some(function) = self.functions.get(&command.name).cloned() {
            return self.call(&function, &arguments);
        }
        match command.name.as_str() {
            "include" => self.include(&arguments),
            "add_subdirectory" => self.add_subdirectory(&arguments),
            "find_package" => return self.find_package(&arguments),
            "pkg_check_modules" | "pkg_search_module" => return self.find_modules(&arguments),
            name => {
                let _ = self.set_variables(name, &arguments)
                    || self.set_flags(name, &arguments)
                    || self.check(name, &arguments)
                    || self.configure(name, &arguments);
            }
        }
        Flow::Next
    }

    fn call(&mut self, function: &Function, arguments: &[String]) -> Flow {
        if self.depth >= MAX_DEPTH {
            return Flow::Next;
        }
        if !function.is_macro {
            self.push_scope();
        }
        for (number, parameter) in function.parameters.iter().enumerate() {
            self.set(parameter, arguments.get(number).map_or("", String::as_str));
        }
        for (number, argument) in arguments.iter().enumerate() {
            self.set(&format!("ARGV{number}"), argument);
        }
        let rest = arguments.get(function.parameters.len()..).unwrap_or_default();
        self.set("ARGC", &arguments.len().to_string());
        self.set("ARGV", &arguments.join(";"));
        self.set("ARGN", &rest.join(";"));
        let flow = self.within(|state| state.run(&function.body));
        if !function.is_macro {
            self.pop_scope();
        }
        if flow == Flow::GiveUp { flow } else { Flow::Next }
    }

    /// A file of the project, or a module in one of its folders of modules.
    fn include(&mut self, arguments: &[String]) {
        let Some(name) = arguments.first() else {
            return;
        };
        let mut places: Vec<PathBuf> = vec![self.path(name)];
        for folder in split_list(&self.get("CMAKE_MODULE_PATH")) {
            places.push(self.path(&folder).join(format!("{name}.cmake")));
        }
        let found = places.into_iter().find(|path| path.starts_with(self.root) && path.is_file());
        let Some(path) = found.filter(|_| self.depth < MAX_DEPTH) else {
            return;
        };
        if let Ok(text) = std::fs::read_to_string(&path) {
            let before = self.get("CMAKE_CURRENT_LIST_DIR");
            let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned());
            self.set("CMAKE_CURRENT_LIST_DIR", &folder.unwrap_or_default());
            self.run_file(&text);
            self.set("CMAKE_CURRENT_LIST_DIR", &before);
        }
    }

    fn add_subdirectory(&mut self, arguments: &[String]) {
        if let Some(name) = arguments.first() {
            let path = self.path(name);
            let binary = PathBuf::from(self.get("CMAKE_CURRENT_BINARY_DIR")).join(name);
            self.enter_folder(&path, &binary);
        }
    }
}

/// Where the block that begins at `start` ends; `start` itself if none does.
fn block_end(all: &[Command], start: usize, limit: usize) -> usize {
    let (open, close) = match all[start].name.as_str() {
        name @ ("if" | "foreach" | "while" | "function" | "macro") => (name, format!("end{name}")),
        _ => return start,
    };
    let mut depth = 0;
    for (at, command) in all.iter().enumerate().take(limit).skip(start) {
        if command.name == open {
            depth += 1;
        } else if command.name == close {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    limit
}

/// The `elseif`, `else` or end that follows the branch at `branch`.
fn next_branch(all: &[Command], branch: usize, end: usize) -> usize {
    let mut at = branch + 1;
    while at < end {
        match all[at].name.as_str() {
            "elseif" | "else" => return at,
            _ => at = block_end(all, at, end).max(at) + 1,
        }
    }
    end
}
