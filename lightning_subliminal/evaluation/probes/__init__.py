"""Probes, a kind a file: questions, sampled answers, judged answers, multiple choice, carrier quality."""
