"""What the OpenAPI document says of answers: their shapes, with examples."""
