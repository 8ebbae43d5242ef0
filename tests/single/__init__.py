"""Single use, revocation and budgets as a whole: real daemons, real processes, whatever happens to them."""
