"""What spanwire is measured against."""
