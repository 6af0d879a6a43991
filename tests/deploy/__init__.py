"""How the server is deployed."""
