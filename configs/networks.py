"""Lists of networks as settings name them: `127.0.0.0/8,10.1.0.0/16,fd00::/8`."""

from ipaddress import IPv4Network, IPv6Network, ip_network


def parse_networks(text: str) -> list[IPv4Network | IPv6Network]:
    """The networks of a comma-separated list; a bare address is a network of one. Raises ValueError."""
    networks = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(name))
        except ValueError as error:
            raise ValueError(f"'{name}' is not a network such as 10.1.0.0/16: {error}") from None
    return networks
