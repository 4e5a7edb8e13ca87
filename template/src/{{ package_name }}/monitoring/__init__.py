"""What was asked and answered comes in; one verdict on the model's health goes out."""
