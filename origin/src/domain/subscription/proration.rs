//! Where the arithmetic of a change of plan between two charges will stand: what of a paid period was not used.
//! Its place is beside the standing, as pure functions of days and whole TWD; nothing is declared here yet.
//! Until then no path changes a plan within a period, and nothing refers to this file.
