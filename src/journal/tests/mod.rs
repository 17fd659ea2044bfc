//! Reading, on segments that were built by hand.
