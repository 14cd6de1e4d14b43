"""What earlier runs measured: kept in a `store` or a `folder`, read as series (`past`) that have `changes`."""
