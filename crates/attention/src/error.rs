//! The crate's only error type: a code, the argument at fault, the expectation and the actual value.

use std::fmt;
use std::ops::Deref;

/// The kind of fault that an [`Error`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Dimensions or lengths that do not fit each other.
    Shape,
    /// An array of the wrong element type.
    Dtype,
    /// An option with an unknown name, a wrong type or a value out of range.
    Option,
    /// A value outside the domain of the function, such as a point off its manifold.
    Domain,
    /// A weights file that cannot be read.
    Format,
    /// Memory that cannot be allocated.
    Memory,
    /// A fault of this crate, not of the caller.
    Internal,
}

impl Code {
    /// Returns the name in capitals, as used in the error messages of bindings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shape => "SHAPE",
            Self::Dtype => "DTYPE",
            Self::Option => "OPTION",
            Self::Domain => "DOMAIN",
            Self::Format => "FORMAT",
            Self::Memory => "MEMORY",
            Self::Internal => "INTERNAL",
        }
    }
}

/// An invalid input, found before any work was done. It is a single pointer, which keeps every `Result` small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Fault>);

/// The contents of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub code: Code,
    /// The argument or option at fault, by its name in the public interface.
    pub argument: String,
    /// The required type, range or value.
    pub expected: String,
    /// The actual value, or a description of it.
    pub actual: String,
    /// True if `actual` is the argument's own value, so that a binding may show it as its caller wrote it.
    pub is_value: bool,
}

/// The result of every function that checks its input.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Creates an error about `argument`.
    #[cold]
    pub fn new(
        code: Code,
        argument: impl fmt::Display,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> Self {
        Self::of(code, [&argument, &expected, &actual])
    }

    /// Not generic over the text types: each copy would add to the WebAssembly module.
    #[cold]
    #[inline(never)]
    fn of(code: Code, texts: [&dyn fmt::Display; 3]) -> Self {
        let [argument, expected, actual] = texts.map(|text| format!("{text}"));
        Self(Box::new(Fault { code, argument, expected, actual, is_value: false }))
    }

    /// Creates an error about dimensions or lengths that do not fit.
    #[cold]
    pub fn shape(argument: impl fmt::Display, expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self::new(Code::Shape, argument, expected, actual)
    }

    /// Creates an error about an invalid option.
    #[cold]
    pub fn option(argument: impl fmt::Display, expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self::new(Code::Option, argument, expected, actual)
    }

    /// Creates an error about an option whose `value` is out of range.
    #[cold]
    pub fn value(argument: impl fmt::Display, expected: impl fmt::Display, value: impl fmt::Display) -> Self {
        let mut error = Self::option(argument, expected, value);
        error.0.is_value = true;
        error
    }

    /// Creates an error about memory for `what` that cannot be allocated.
    #[cold]
    pub fn memory(what: &str, elements: usize) -> Self {
        Self::new(Code::Memory, what, "a size that fits into memory", format_args!("{elements} elements"))
    }

    /// Returns the same error with the value as the caller wrote it.
    #[cold]
    pub fn showing(mut self, actual: String) -> Self {
        self.0.actual = actual;
        self
    }

    /// Returns the same error about a member of `outer`, an option that is an object: `outer.argument`.
    #[cold]
    pub fn within(mut self, outer: &str) -> Self {
        self.0.argument = format!("{outer}.{}", self.0.argument);
        self
    }
}

impl Deref for Error {
    type Target = Fault;

    fn deref(&self) -> &Fault {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.argument, self.expected, self.actual)
    }
}

impl std::error::Error for Error {}

/// Joins names into a list of alternatives: `'a', 'b' or 'c'`.
pub fn alternatives(names: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let separator = match index {
            0 => "",
            _ if index + 1 == names.len() => " or ",
            _ => ", ",
        };
        for part in [separator, "'", name, "'"] {
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(&["a"]), "'a'");
        assert_eq!(alternatives(&["a", "b"]), "'a' or 'b'");
        assert_eq!(alternatives(&["a", "b", "c"]), "'a', 'b' or 'c'");
    }
}
