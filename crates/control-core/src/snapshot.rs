//! The state of the mesh at one moment, indexed for translation.
