"""What happens to an interaction on its way in: validate, identify, write."""
