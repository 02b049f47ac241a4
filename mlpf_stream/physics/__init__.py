"""What candidates are worth: rule-based baseline, jets, missing momentum, response. No torch."""
