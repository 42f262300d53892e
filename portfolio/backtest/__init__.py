"""Walk-forward backtest: the live engine's own rules over market history, with an account's bookkeeping."""
