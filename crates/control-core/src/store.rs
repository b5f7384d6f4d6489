//! The set of known objects and what each event changes.
