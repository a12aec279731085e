"""Films and persons, all invented."""

from reasonprune.graph.store import Triple

FILMS = [
    Triple("Red Dunes", "directed_by", "Ada Lang"),
    Triple("Red Dunes", "starred_actors", "Ben Ode"),
    Triple("Red Dunes", "starred_actors", "Cleo Marsh"),
    Triple("Red Dunes", "release_year", "1999"),
    Triple("Red Dunes", "has_genre", "Western"),
    Triple("Salt Roads", "directed_by", "Ada Lang"),
    Triple("Salt Roads", "written_by", "Ben Ode"),
    Triple("Salt Roads", "starred_actors", "Cleo Marsh"),
    Triple("Salt Roads", "release_year", "2003"),
    Triple("Salt Roads", "has_genre", "Drama"),
    Triple("Grey Harbour", "directed_by", "Dov Pell"),
    Triple("Grey Harbour", "starred_actors", "Ben Ode"),
    Triple("Grey Harbour", "release_year", "2011"),
    Triple("Ada Lang", "spouse", "Dov Pell"),
    Triple("Ada Lang", "children", "Eve Lang"),
    Triple("Eve Lang", "place_of_birth", "Port Sable"),
]
