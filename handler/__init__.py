"""The handler service: many XGBoost models in one process, one module per step of an answer."""
