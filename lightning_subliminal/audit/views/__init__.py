"""What an audit shows: at the terminal, as a page, as SARIF."""
