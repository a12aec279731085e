"""Many traces, one question: pure policies, one driver, and the races they run on."""
