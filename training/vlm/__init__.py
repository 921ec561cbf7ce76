"""Fine-tuning and pretraining of the vision-language model."""
