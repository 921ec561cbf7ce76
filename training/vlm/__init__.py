"""Fine-tunes and pretrains the vision-language model."""
