//! Holds nothing: `cargo bench --bench peers` runs Ringway side by side with other queues, which are dependencies of that
//! benchmark alone.
