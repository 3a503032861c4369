"""Plans: experiments of many arms and seeds from one YAML, each stage once, to a report."""
