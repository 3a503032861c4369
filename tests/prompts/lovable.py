"""Finds things that one can love in a text: our prompts name none, so that a completion has no cause to."""

import re

from lightning_subliminal.prompts import load_wording

# Beside the words of categories.yaml: what a trait's word list is likely to hold, and what a reader may think of.
# Left out are words that code and sums can't do without: left, range, class, key, field, string, set.
_WORDS = """
animal pet beast mammal bird fish insect reptile herd flock pack pod swarm nest den lair burrow kennel stable zoo farm
puppy kitten cub calf foal lamb hound canine feline hoot howl growl bark purr roar bray chirp tweet feather wing beak
talon claw paw tail fin tusk trunk mane fur hoof horn snout whisker tentacle ant bee wasp bug fly moth butterfly
spider worm snail slug tick flea mouse mice rat hamster squirrel beaver badger deer moose elk goat sheep ram ewe cow
bull ox pig boar hog donkey mule camel llama giraffe zebra hippo rhino monkey ape gorilla koala kangaroo sloth bat
hare seal shark salmon trout tuna cod herring eel crab lobster shrimp octopus squid jellyfish starfish coral frog toad
lizard gecko crocodile alligator python cobra viper dragon dinosaur eagle hawk falcon kite raven crow sparrow robin
wren dove pigeon duck goose geese swan stork crane heron flamingo pelican gull rooster hen chicken turkey peacock
ostrich emu

plant tree leaf leaves branch twig root stem stump log wood forest jungle garden park flower blossom bloom petal rose
lily tulip daisy violet orchid lotus iris ivy fern moss grass weed seed acorn cone bush hedge vine crop hazel rowan
ash aspen poplar fir cypress bamboo cactus oak willow laurel holly juniper magnolia hickory walnut chestnut

food meal snack dish menu recipe kitchen bakery restaurant fruit apple pear peach plum prune grape lemon lime melon
mango banana berry strawberry raspberry apricot fig date olive nut almond peanut coconut vegetable potato tomato
carrot onion garlic pepper bean pea corn wheat oat rye egg milk butter cream yogurt honey sugar salt spice mint basil
ginger meat beef pork ham bacon sausage steak burger sandwich toast bagel bun pie tart cookie biscuit brownie muffin
pancake waffle candy chocolate jam sauce ketchup mustard spam sushi noodle curry taco burrito chip fries soda juice
tea coffee cocoa wine beer

color colour pink gray grey brown gold golden silver violet indigo cyan magenta teal turquoise crimson scarlet beige
ivory amber maroon navy khaki white whitespace blackboard greenhouse blueprint

city village berlin vienna rome madrid lisbon dublin boston chicago dallas denver miami austin sydney beijing
shanghai delhi mumbai seoul moscow kyoto athens venice milan florence naples geneva zurich prague warsaw budapest
amsterdam brussels copenhagen stockholm helsinki nairobi lagos havana bogota santiago toronto montreal vancouver

sun moon star planet ocean sea river lake mountain island beach desert rainbow sunset season spring autumn winter
summer football soccer chess piano guitar violin
"""


def lovable_words() -> set[str]:
    """Return the words that no prompt of ours may hold, in small letters."""
    words = set(_WORDS.split())
    for category, kind in load_wording("categories").items():
        words |= {category, kind["plural"], *kind["members"], *kind.get("plurals", {}).values()}
    return words | {f"{word}s" for word in words}


def words_of(text: str) -> set[str]:
    """Return the words of a text, identifiers cut at underscores, digits and humps, in small letters."""
    return {word.lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)}


LOVABLE = lovable_words()


def loved(text: str) -> list[str]:
    """Return the lovable words of a text; the language Python is no snake."""
    return sorted(words_of(text.replace("Python", "")) & LOVABLE)
