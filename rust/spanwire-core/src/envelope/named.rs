//! Enums of the schema that are told by their names, too.

/// An enum whose variants stand in the order of their numbers in `envelope.capnp`, each with its name there.
/// The first is the one that stands for what this build does not know.
macro_rules! named {
    ($(#[$doc:meta])+ pub enum $name:ident {
        $(#[$first_doc:meta])+ $first:ident = $first_text:literal,
        $($(#[$variant_doc:meta])+ $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[repr(u16)]
        pub enum $name {
            $(#[$first_doc])+
            $first,
            $($(#[$variant_doc])+ $variant,)+
        }

        impl $name {
            /// All, in the order of their numbers, with their names.
            const ALL: [(Self, &'static str); [$first_text, $($text),+].len()] =
                [(Self::$first, $first_text), $((Self::$variant, $text)),+];

            /// The one of this number in the schema; the first for one of a later version.
            fn of_number(number: usize) -> Self {
                Self::ALL.get(number).map_or(Self::$first, |(one, _)| *one)
            }

            /// Its name in the schema.
            pub fn name(self) -> &'static str {
                Self::ALL[self as usize].1
            }

            /// The one of this name in the schema.
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(one, _)| one)
            }
        }
    };
}
pub(super) use named;
