//! Translation of a snapshot into xDS resources.
