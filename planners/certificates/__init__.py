"""What the theory of Deep SPI promises of one update: evidence, assumptions, bounds."""
