//! Every phase meets every input (dunning).
