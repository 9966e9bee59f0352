"""Names, tempers, friends, sayings, weather: the words of the tales that depend on nothing else.

Items are in order of falling probability, separated by semicolons. Names of heroes tell whether the tale says "she"
or "he"; the two lists share no name.
"""

from __future__ import annotations

SHE_NAMES = """
Mara; Lily; Anna; Nell; Rosa; Ida; Clara; Tess; Hazel; Ada; Greta; Willa; Junie; Flora; Minna; Olive; Petra; Sanna;
Vera; Bella; Edith; Frida; Hilda; Ivy; Kaja; Lotte; Mabel; Nora; Odette; Paloma; Quilla; Runa; Selma; Tilda; Ursula;
Wanda; Yara; Zelda; Amira; Briar
"""

HE_NAMES = """
Tom; Finn; Oskar; Hugo; Max; Emil; Jonas; Otto; Leo; Rufus; Anton; Basil; Casper; Dario; Edgar; Felix; Gus; Henrik;
Ivo; Jasper; Klaus; Linus; Milo; Nils; Olaf; Pablo; Quentin; Ralph; Sven; Theo; Ulrich; Viktor; Wilbur; Xaver; Yusuf;
Zeno; Abel; Bruno; Cyril; Dmitri
"""

TRAITS = """
small; shy; clever; cheerful; dreamy; brave; quiet; stubborn; curious; gentle; restless; young; clumsy; lonely; merry;
sleepy; thoughtful; impatient; nimble; forgetful; solemn; untidy; honest; freckled; bashful; short-sighted;
absent-minded; plump; left-handed; daydreaming; soft-spoken; old-fashioned; easygoing; ticklish; melancholy
"""

FRIEND_NAMES = """
Dot; Pip; Button; Crumb; Thimble; Pepper; Pebble; Biscuit; Nutmeg; Clover; Tuppence; Whisker; Bramble; Marble; Fidget;
Sorrel; Figaro; Cricket; Domino; Saffron; Tumble; Juniper; Mustard; Pudding; Quill; Radish; Velvet; Wobble; Noodle;
Zigzag
"""

FRIENDS = """
snail; sparrow hawk; ladybird; beetle; moth; shrew; grasshopper; dormouse; bat; spider; earthworm; butterfly;
caterpillar; woodlouse; ant; weasel; stoat; jackdaw; magpie; cuckoo; firefly; dragonfly; canary; hamster; ferret;
earwig; guinea pig; chameleon
"""

SAYINGS = """
wishes walk on slow feet; every road begins at the door; a small lamp is enough for a small room; patience bakes the
best bread; nobody trips over a mountain; the longest night has a morning; two can carry what one cannot lift; luck
likes those who are awake; ask the wind and you get wind; what you give away comes home; even the sea began as a drop;
a full heart needs no map; the best things are found while looking for others; worry is a poor umbrella; good things
are seldom in a hurry; an open hand catches more than a fist; he who counts the clouds never mows the hay; listen
twice and speak once; not every cloud brings rain; a borrowed feather does not fly; there is no harm in trying the
gate; slow honey is the sweetest; where there is a keyhole there is a key; tea first and troubles later; the moon was
once a stranger too
"""

WEATHERS = """
sunny; windy; misty; bright; frosty; grey; warm; rainy; golden; cloudless; chilly; still; stormy; blustery; drizzly;
glittering; pearly; breezy; sultry; thundery
"""

TIMES = """
a few days; three days; a week; seven nights; two weeks; a month; a fortnight; ten days; one long winter; a year and a
day
"""

MANNERS = """
softly; gently; kindly; thoughtfully; wisely; at last; with a smile; solemnly; with a yawn; between two bites; after a
while; cheerfully; out of nowhere; from under a leaf; with a wink; as if it were nothing
"""

SAIDS = """
said; whispered; murmured; answered; sighed; chuckled; remarked; mumbled; explained; declared
"""

BEGGINGS = """
begged; called; cried; asked; pleaded; sobbed; whispered; groaned
"""

SEASONS = """
spring; summer; autumn; winter; plum season; strawberry season; apple season
"""

FEASTS = """
soup; pancakes; apple pie; dumplings; gingerbread; roasted chestnuts; cherry tart; noodles; hot cocoa; elderflower
lemonade; onion pie; waffles; jam tarts; baked pears; pea soup; cinnamon rolls
"""

BRAVERIES = """
a heavy heart; empty pockets; a light step; a packed lunch; a song; high hopes; a borrowed hat; two left socks; great
care; a head full of plans; hardly any breakfast; a walking stick
"""
