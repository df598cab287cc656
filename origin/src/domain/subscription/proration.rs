//! Proration.
