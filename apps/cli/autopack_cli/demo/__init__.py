"""The demo: three small repositories, nine scripted agents, and what must become of them."""
