"""Training data: samples are read, frozen in a snapshot, augmented and collated into batches."""
