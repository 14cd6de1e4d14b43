"""How the tables of the history store came to be, for alembic; one module in `versions` for each change."""
