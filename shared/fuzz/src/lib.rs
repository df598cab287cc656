//! The functions that the fuzz targets call; see `entries`.

pub mod entries;
