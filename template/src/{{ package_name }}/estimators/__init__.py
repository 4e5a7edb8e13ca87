"""Yours: features, model and rules, joined into the one estimator that is trained and served."""
